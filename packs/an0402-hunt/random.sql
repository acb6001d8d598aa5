-- description: Every flow that may be random - also inbound, joined midstream, short, approved by an allowlist rule, or without an owner
-- attack: AN0402, DET0143, T1573.001
-- kind: figures
-- platform: darwin,linux
-- interval: 0
-- snapshot: true
-- false_positives: Many. Short and midstream flows are weak evidence, and approved software is here on purpose.
-- response: Sort by remote_address and path over all hosts. What one host alone does, with nobody's signature, is worth a look with
--   an0402-response. executable_gone - the program was deleted after it started, which hides its crypto, and with it the finding, from the detection.
WITH odd AS MATERIALIZED (
  SELECT last_seen, pid, path, process_name, launchd_label, attribution, direction, protocol, local_address, local_port, remote_address, remote_port, remote_scope,
         verdict, confidence, reasons, violations, app_protocol, packets_in, packets_out, bytes_in, bytes_out, lopsided, port_expected,
         entropy_ratio, chi2_p, printable_ratio, sampled_bytes, header_bytes, allowlist_rule, community_id
  FROM socket_tls_conformance
  WHERE verdict IN ('random', 'tls_mimic', 'random_midstream', 'undetermined')
), doubtful AS MATERIALIZED (
  -- Of short samples those that look as random as their length lets them: uniform bytes are printable to 37 percent.
  SELECT * FROM odd
  WHERE verdict <> 'undetermined' OR (sampled_bytes >= 16 AND entropy_ratio >= 0.95 AND printable_ratio <= 0.6)
), crypto AS MATERIALIZED (
  SELECT path, max(signature) AS signature, max(team_id) AS team_id, max(identity) AS identity, max(error LIKE '%no such file%') AS gone,
         group_concat(DISTINCT CASE WHEN class = 'symmetric' THEN provider END) AS provider
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM doubtful)
  GROUP BY path
)
SELECT CASE WHEN verdict IN ('random', 'tls_mimic') THEN '' WHEN verdict = 'random_midstream' THEN 'midstream,' ELSE 'short,' END ||
         CASE WHEN direction = 'inbound' THEN 'inbound,' ELSE '' END || CASE WHEN allowlist_rule <> '' THEN 'allowlisted,' ELSE '' END ||
         CASE WHEN doubtful.path = '' THEN 'no_owner,' ELSE '' END || CASE WHEN remote_scope NOT IN ('public', 'private') THEN remote_scope || ',' ELSE '' END ||
         CASE WHEN gone THEN 'executable_gone,' ELSE '' END || CASE WHEN ifnull(provider, '') = '' THEN 'no_crypto_seen' ELSE 'symmetric_crypto' END AS notes,
       last_seen, pid, doubtful.path, process_name, launchd_label, attribution, ifnull(signature, '') AS signature, ifnull(team_id, '') AS team_id,
       ifnull(provider, '') AS provider, direction, protocol, local_address, local_port, remote_address, remote_port, remote_scope, verdict, confidence,
       reasons, violations, app_protocol, packets_in, packets_out, bytes_in, bytes_out, lopsided, port_expected, entropy_ratio, chi2_p, printable_ratio,
       sampled_bytes, header_bytes, allowlist_rule, community_id,
       CASE WHEN ifnull(identity, '') = '' THEN '' ELSE identity || ' to ' || remote_address || ' port ' || remote_port END AS exception_key
FROM doubtful LEFT JOIN crypto ON crypto.path = doubtful.path
ORDER BY last_seen DESC, community_id
LIMIT 2000
