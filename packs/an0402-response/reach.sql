-- description: What else the programs behind one pid, path, label or remote address reached, and who else on this host reached the same
-- attack: AN0402, DET0143, T1573.001
-- kind: response
-- platform: darwin,linux
-- interval: 0
-- snapshot: true
-- false_positives: None. It shows what is there, conformant flows included.
-- response: Look for remote_address on other hosts. reached_by names the other programs of this host that talk to the same address.
--   Paste one value between the quotes of the first line - a pid, a path, a launchd label (or a systemd unit) or a remote address. With nothing
--   pasted it asks no table. A quote within a path is written twice.
WITH asked(value) AS (SELECT ''),
talk AS MATERIALIZED (
  SELECT pid, path, process_name, launchd_label, direction, protocol, remote_address, remote_port, remote_scope, verdict, app_protocol, sni, bytes_in, bytes_out,
         lopsided, first_seen, last_seen, allowlist_rule
  FROM asked CROSS JOIN socket_tls_conformance
  WHERE asked.value <> ''
), subject AS MATERIALIZED (
  SELECT DISTINCT pid, path FROM talk, asked WHERE value IN (CAST(pid AS TEXT), path, launchd_label, remote_address)
), reached AS MATERIALIZED (
  SELECT path, process_name, launchd_label, direction, protocol, remote_address, remote_port, remote_scope, verdict, app_protocol, max(sni) AS sni, max(pid) AS pid,
         count(*) AS flows, sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in, max(lopsided) AS lopsided, min(first_seen) AS first_seen,
         max(last_seen) AS last_seen, max(allowlist_rule) AS allowlist_rule
  FROM talk
  WHERE (path <> '' AND path IN (SELECT path FROM subject)) OR (path = '' AND pid > 0 AND pid IN (SELECT pid FROM subject))
     OR (path = '' AND remote_address IN (SELECT value FROM asked))
  GROUP BY path, process_name, launchd_label, direction, protocol, remote_address, remote_port, remote_scope, verdict, app_protocol
), others AS MATERIALIZED (
  SELECT remote_address, group_concat(DISTINCT path) AS paths FROM talk
  WHERE path <> '' AND path NOT IN (SELECT path FROM subject) AND remote_address IN (SELECT remote_address FROM reached)
  GROUP BY remote_address
), signer AS MATERIALIZED (
  SELECT path, max(identity) AS identity FROM asked CROSS JOIN file_crypto_linkage
  WHERE asked.value <> '' AND path IN (SELECT path FROM reached WHERE path <> '')
  GROUP BY path
)
SELECT reached.path, process_name, pid, launchd_label, direction, protocol, reached.remote_address, remote_port, remote_scope, verdict, app_protocol, sni, flows,
       bytes_out, bytes_in, lopsided, first_seen, last_seen, allowlist_rule, ifnull(others.paths, '') AS reached_by,
       CASE WHEN ifnull(identity, '') = '' THEN '' ELSE identity || ' to ' || reached.remote_address || ' port ' || remote_port END AS exception_key
FROM reached LEFT JOIN others ON others.remote_address = reached.remote_address LEFT JOIN signer ON signer.path = reached.path
ORDER BY last_seen DESC, reached.remote_address, remote_port
LIMIT 2000
