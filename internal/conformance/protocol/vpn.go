package protocol

var vpn []entry
