package protocol

var ssh []entry
