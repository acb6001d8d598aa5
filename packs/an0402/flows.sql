-- description: The flows behind findings with their figures, whether they are lopsided, and whether the contact is regular
-- attack: AN0402, DET0143, T1573.001
-- kind: figures
-- platform: darwin,linux
-- interval: 3600
-- snapshot: true
-- false_positives: As for the detection, and programs without crypto of their own. Flows that an allowlist rule covers are in an0402-hunt.
-- response: Compare entropy_ratio, chi2_p and header_bytes of the flows of one program - a protocol of its own looks alike each time. lopsided is
--   more out than in by traffic_asymmetry_ratio, regular at least five contacts within 24 hours whose gaps spread around their mean by a quarter of
--   it at most (contact_jitter, the standard deviation over the mean - a wait that is drawn evenly from 60 to 140 % has 0.23). A gap in which the
--   host slept or nothing was captured is not measured.
WITH odd AS MATERIALIZED (
  SELECT first_seen, last_seen, pid, path, process_name, launchd_label, attribution, protocol, local_address, local_port, remote_address, remote_port,
         remote_scope, verdict, confidence, reasons, violations, app_protocol, sni, ja4, community_id, packets_in, packets_out, bytes_in, bytes_out,
         lopsided, entropy, entropy_ratio, chi2_p, printable_ratio, sampled_bytes, header_bytes,
         contacts, contact_gap, contact_jitter
  FROM socket_tls_conformance
  WHERE verdict IN ('random', 'tls_mimic') AND direction = 'outbound' AND allowlist_rule = '' AND remote_scope IN ('public', 'private')
), signer AS MATERIALIZED (
  SELECT path, max(identity) AS identity, max(class = 'symmetric' AND evidence = 'strong') AS strong
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM odd)
  GROUP BY path
)
SELECT last_seen, pid, odd.path, process_name, launchd_label, attribution, protocol, local_address, local_port, remote_address, remote_port,
       remote_scope, verdict, confidence, reasons, violations, app_protocol, sni, ja4, community_id, packets_in, packets_out, bytes_in, bytes_out, lopsided,
       contacts, round(contact_gap, 1) AS contact_gap, round(contact_jitter, 3) AS contact_jitter, ifnull(contact_jitter <= 0.25, 0) AS regular,
       entropy, entropy_ratio, chi2_p, printable_ratio, sampled_bytes, header_bytes, ifnull(strong, 0) AS strong_symmetric,
       CASE WHEN ifnull(identity, '') = '' THEN '' ELSE identity || ' to ' || remote_address || ' port ' || remote_port END AS exception_key
FROM odd LEFT JOIN signer ON signer.path = odd.path
ORDER BY last_seen DESC, community_id
LIMIT 200
