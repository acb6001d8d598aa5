package protocol

var apple []entry
