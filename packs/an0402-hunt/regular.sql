-- description: Programs that come back to one destination at even intervals, in something that is no conformant TLS and no known protocol
-- attack: AN0402, DET0143, T1573.001, T1571
-- kind: figures
-- platform: darwin,linux
-- interval: 0
-- snapshot: true
-- false_positives: Keep-alives and telemetry of software with a protocol of its own.
-- response: A short contact_gap with little contact_jitter and few bytes is how an implant asks for work. Paste path into an0402-response. Of
--   alerts, contacts are those within 24 hours, of other flows those within time_window.
WITH seen AS MATERIALIZED (
  SELECT first_seen, last_seen, pid, path, process_name, launchd_label, protocol, local_port, remote_address, remote_port, verdict, bytes_in, bytes_out,
         allowlist_rule, contacts, contact_gap, contact_jitter
  FROM socket_tls_conformance
  WHERE verdict IN ('random', 'tls_mimic', 'random_midstream', 'structured', 'undetermined', 'cleartext', 'compressed')
    AND direction = 'outbound' AND remote_scope IN ('public', 'private')
), gaps AS (
  SELECT *, first_seen - lag(first_seen) OVER (PARTITION BY launchd_label, path, process_name, protocol, remote_address, remote_port ORDER BY first_seen, local_port) AS gap
  FROM seen
), figures AS (
  SELECT launchd_label, path, process_name, max(pid) AS pid, protocol, remote_address, remote_port, group_concat(DISTINCT verdict) AS verdicts,
         max(contacts) AS of_alert, max(contact_gap) AS gap_of_alert, min(contact_jitter) AS jitter_of_alert,
         count(*) AS flows, count(gap) AS gaps, avg(gap) AS mean, sqrt(max(0, (avg(gap * gap) - avg(gap) * avg(gap)) * count(gap) / (count(gap) - 1))) AS deviation,
         sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in, min(first_seen) AS first_seen, max(last_seen) AS last_seen, max(allowlist_rule) AS allowlist_rule
  FROM gaps
  GROUP BY launchd_label, path, process_name, protocol, remote_address, remote_port
), beacons AS MATERIALIZED (
  SELECT *, ifnull(of_alert, flows) AS contacts, CASE WHEN of_alert IS NULL THEN mean ELSE gap_of_alert END AS contact_gap,
         CASE WHEN of_alert IS NULL THEN deviation / mean ELSE jitter_of_alert END AS contact_jitter
  FROM figures
  WHERE jitter_of_alert <= 0.25 OR of_alert IS NULL AND gaps >= 4 AND mean > 0 AND deviation <= 0.25 * mean
), signer AS MATERIALIZED (
  SELECT path, max(signature) AS signature, max(team_id) AS team_id, max(identity) AS identity, max(class = 'symmetric' AND evidence = 'strong') AS strong
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM beacons)
  GROUP BY path
)
SELECT contacts, round(contact_gap, 1) AS contact_gap, round(contact_jitter, 3) AS contact_jitter, launchd_label, beacons.path, process_name, pid,
       ifnull(signature, '') AS signature, ifnull(team_id, '') AS team_id, ifnull(strong, 0) AS strong_symmetric,
       protocol, remote_address, remote_port, verdicts, bytes_out, bytes_in, first_seen, last_seen, allowlist_rule,
       CASE WHEN ifnull(identity, '') = '' THEN '' ELSE identity || ' to ' || remote_address || ' port ' || remote_port END AS exception_key
FROM beacons LEFT JOIN signer ON signer.path = beacons.path
ORDER BY contacts DESC, remote_address, remote_port
LIMIT 500
