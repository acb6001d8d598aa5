package protocol

var games []entry
