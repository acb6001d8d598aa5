package tls

// rules is a set of broken rules.
type rules uint64

// The rules, each one that no real TLS stack breaks in a connection that goes on. Names are what Judgement.Violations holds.
const (
	ruleAppDataFirst rules = 1 << iota
	ruleVersion0304
	ruleRecordVersion
	ruleRecordLength
	ruleEmptyRecord
	ruleFramingLost
	ruleCCS
	ruleAlert
	ruleFirstMessage
	ruleMessageType
	ruleMessageOrder
	ruleMessageLength
	rulePlainAfterHello
	ruleClientHello
	ruleServerHello
	ruleServerNotTLS
	ruleServerVersion
	ruleServerSuite
	ruleSuiteVersion
	ruleServerCompression
	ruleServerGroup
	ruleServerPSK
	ruleServerExtension
	ruleSessionID
	ruleKeyLength
	ruleKeyInvalid
	ruleNoCertificate
	ruleCertificate
	ruleNoServerKeyExchange
	ruleNoClientKeyExchange
	ruleSignature
	ruleNoClientFinished
	ruleNoServerFinished
	ruleFinishedSize
	ruleFlightSize
	ruleRecordSize
	ruleLowEntropy
	ruleSealedVersion
	ruleServerFirst
)

var ruleNames = [...]string{
	"application_data_before_handshake", "record_version_0304", "record_version_unknown", "record_length", "zero_length_record",
	"record_framing_lost", "ccs_malformed", "alert_malformed", "handshake_first_message", "handshake_type_unknown", "handshake_order",
	"handshake_length", "plaintext_handshake_after_hello", "client_hello_malformed", "server_hello_malformed", "server_not_tls",
	"server_version_not_offered", "server_suite_not_offered", "suite_wrong_for_version", "server_compression_not_offered",
	"server_group_not_offered", "server_psk_not_offered", "server_extension_not_offered", "session_id_not_echoed",
	"key_exchange_length", "key_exchange_invalid", "missing_certificate", "certificate_malformed", "missing_server_key_exchange",
	"missing_client_key_exchange", "key_exchange_signature", "no_client_finished", "no_server_finished", "finished_size",
	"server_flight_size", "record_size_impossible", "low_entropy_application_data",
	"sealed_record_version", "server_spoke_first",
}

// enforced are the rules about the hellos that the other side enforces: a broken stack is met with an alert or a reset, so they count
// only when the client goes on.
const enforced = ruleClientHello | ruleServerVersion | ruleServerSuite | ruleSuiteVersion | ruleServerCompression | ruleServerGroup |
	ruleServerPSK | ruleServerExtension | ruleSessionID | ruleKeyLength | ruleKeyInvalid | ruleSignature

// names lists the broken rules, nil when there are none.
func (r rules) names() []string {
	var out []string
	for i, n := range ruleNames {
		if r&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return out
}
