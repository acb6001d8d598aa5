-- description: Processes linked with a crypto library whose external connections are random, unknown and lopsided, or both, with their figures
-- attack: AN0401, DET0143, T1573.001
-- kind: figures
-- platform: linux
-- interval: 3600
-- snapshot: true
-- false_positives: Backup and sync software with a protocol of its own that sends more than it gets.
-- response: lopsided_flows are those that reach traffic_asymmetry_ratio with 64 KiB out or more - data that leaves. Compare with what the program is for.
--   Libraries in trusted_crypto_libs do not count.
WITH odd AS MATERIALIZED (
  SELECT pid, path, process_name, launchd_label, verdict, protocol, remote_address, remote_port, bytes_out, bytes_in, first_seen, last_seen,
         lopsided = 1 AND bytes_out >= 65536 AS drained
  FROM socket_tls_conformance
  WHERE verdict IN ('random', 'tls_mimic', 'random_midstream', 'structured', 'compressed', 'undetermined') AND direction = 'outbound'
    AND allowlist_rule = '' AND remote_scope IN ('public', 'private')
), crypto AS MATERIALIZED (
  SELECT path, max(identity) AS identity, group_concat(DISTINCT provider) AS provider, group_concat(DISTINCT library) AS library, max(library LIKE '%libcrypto%') AS libcrypto
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM odd) AND class = 'symmetric' AND evidence = 'strong'
  GROUP BY path
), units AS MATERIALIZED (
  SELECT id, fragment_path FROM systemd_units
)
SELECT odd.pid, odd.path, process_name, launchd_label AS systemd_unit, ifnull(max(units.fragment_path), '') AS unit_path, provider, library, libcrypto,
       count(*) AS flows, sum(verdict IN ('random', 'tls_mimic')) AS random_flows, sum(verdict = 'random_midstream') AS midstream_flows, sum(drained) AS lopsided_flows,
       count(DISTINCT remote_address) AS remote_addresses, remote_address, remote_port, sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in,
       CASE WHEN sum(bytes_in) > 0 THEN round(1.0 * sum(bytes_out) / sum(bytes_in), 1) END AS asymmetry_ratio, min(first_seen) AS first_seen, max(last_seen) AS last_seen,
       CASE WHEN identity = '' THEN '' ELSE identity || ' to ' || remote_address || ' port ' || remote_port END AS exception_key
FROM odd JOIN crypto ON crypto.path = odd.path LEFT JOIN units ON units.id = odd.launchd_label
GROUP BY odd.pid, odd.path, process_name, launchd_label, provider, library, libcrypto, identity, remote_address, remote_port
HAVING sum(verdict IN ('random', 'tls_mimic', 'random_midstream')) > 0 OR sum(drained) > 0
ORDER BY random_flows DESC, bytes_out DESC
LIMIT 200
