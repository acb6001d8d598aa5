package protocol

var web []entry
