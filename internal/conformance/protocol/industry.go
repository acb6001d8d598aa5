package protocol

var industry []entry
