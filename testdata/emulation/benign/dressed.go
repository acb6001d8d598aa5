//go:build !plain

package main

import "maps"

func init() {
	maps.Copy(parts, map[string]part{
		"files-server": serveFiles, "smtp-server": serveSMTP,
		"quic-server": serveQUIC, "quic-client": askQUIC,
		"dtls-server": serveDTLS, "dtls-client": askDTLS,
		"webrtc-server": serveWebRTC, "webrtc-client": askWebRTC,
		"dns-server": serveDNS, "doq-client": askDoQ,
		"wireguard-server": serveWireGuard, "wireguard-client": askWireGuard,
	})
}
