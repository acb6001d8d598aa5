package protocol

var voice []entry
