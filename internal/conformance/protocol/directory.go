package protocol

var directory []entry
