-- description: The flows behind findings with their figures, whether they are lopsided, and whether the contact is regular
-- attack: AN0402, DET0143, T1573.001
-- kind: figures
-- platform: darwin,linux
-- interval: 3600
-- snapshot: true
-- false_positives: As for the detection, and programs without crypto of their own. Flows that an allowlist rule covers are in an0402-hunt.
-- response: Compare entropy_ratio, chi2_p and header_bytes of the flows of one program - a protocol of its own looks alike each time. lopsided is
--   more out than in by traffic_asymmetry_ratio, regular at least five contacts whose gaps differ by a fifth at most on average. Contacts
--   are those within time_window, so a beacon that comes more seldom shows one contact at a time.
WITH odd AS MATERIALIZED (
  SELECT first_seen, last_seen, pid, path, process_name, launchd_label, attribution, protocol, local_address, local_port, remote_address, remote_port,
         remote_scope, verdict, confidence, reasons, violations, app_protocol, sni, ja4, community_id, packets_in, packets_out, bytes_in, bytes_out,
         lopsided, entropy, entropy_ratio, chi2_p, printable_ratio, sampled_bytes, header_bytes
  FROM socket_tls_conformance
  WHERE verdict IN ('random', 'tls_mimic') AND direction = 'outbound' AND allowlist_rule = '' AND remote_scope IN ('public', 'private')
), signer AS MATERIALIZED (
  SELECT path, max(identity) AS identity, max(class = 'symmetric' AND evidence = 'strong') AS strong
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM odd)
  GROUP BY path
), gaps AS (
  SELECT *, first_seen - lag(first_seen) OVER (PARTITION BY launchd_label, path, process_name, protocol, remote_address, remote_port ORDER BY first_seen, local_port) AS gap
  FROM odd
), means AS (
  SELECT *, count(*) OVER contact AS contacts, avg(gap) OVER contact AS contact_gap
  FROM gaps
  WINDOW contact AS (PARTITION BY launchd_label, path, process_name, protocol, remote_address, remote_port)
), contacts AS (
  SELECT *, avg(abs(gap - contact_gap)) OVER contact AS deviation
  FROM means
  WINDOW contact AS (PARTITION BY launchd_label, path, process_name, protocol, remote_address, remote_port)
)
SELECT last_seen, pid, contacts.path, process_name, launchd_label, attribution, protocol, local_address, local_port, remote_address, remote_port,
       remote_scope, verdict, confidence, reasons, violations, app_protocol, sni, ja4, community_id, packets_in, packets_out, bytes_in, bytes_out, lopsided,
       contacts, round(contact_gap, 1) AS contact_gap, round(deviation / contact_gap, 3) AS contact_jitter,
       ifnull(contacts >= 5 AND contact_gap > 0 AND deviation <= 0.2 * contact_gap, 0) AS regular,
       entropy, entropy_ratio, chi2_p, printable_ratio, sampled_bytes, header_bytes, ifnull(strong, 0) AS strong_symmetric,
       CASE WHEN ifnull(identity, '') = '' THEN '' ELSE identity || ' to ' || remote_address || ' port ' || remote_port END AS exception_key
FROM contacts LEFT JOIN signer ON signer.path = contacts.path
ORDER BY last_seen DESC, community_id
LIMIT 200
