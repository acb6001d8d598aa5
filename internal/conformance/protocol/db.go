package protocol

var db []entry
