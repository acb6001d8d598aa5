package protocol

var mail []entry
