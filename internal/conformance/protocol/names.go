package protocol

var names []entry
