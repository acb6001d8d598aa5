-- description: The flows behind findings, with their figures
-- attack: AN0402, DET0143, T1573.001
-- platform: darwin,linux
-- interval: 3600
-- snapshot: true
-- false_positives: As for the detection; flows that an allowlist rule covers are here too, with the rule.
-- response: Compare entropy_ratio, chi2_p and header_bytes of the flows of one program: a protocol of its own looks alike each time.
SELECT last_seen, pid, path, process_name, launchd_label, attribution, protocol, local_address, local_port, remote_address, remote_port,
       verdict, confidence, reasons, violations, app_protocol, sni, ja4, community_id, packets_in, packets_out, bytes_in, bytes_out,
       entropy, entropy_ratio, chi2_p, printable_ratio, sampled_bytes, header_bytes, allowlist_rule
FROM socket_tls_conformance
WHERE verdict IN ('random', 'tls_mimic') AND direction = 'outbound'
ORDER BY last_seen DESC, community_id
LIMIT 200
