package protocol

var p2p []entry
