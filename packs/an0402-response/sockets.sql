-- description: Open sockets and judged flows of the processes behind one pid, path, label or remote address
-- attack: AN0402, DET0143, T1573.001
-- kind: response
-- platform: darwin,linux
-- interval: 0
-- snapshot: true
-- false_positives: None. It shows what is there.
-- response: A socket without verdict was open before the capture began, listens, or is not TCP or UDP. state is the socket's, empty where it is closed.
--   Paste one value between the quotes of the first line - a pid, a path, a launchd label (or a systemd unit) or a remote address. With nothing
--   pasted it asks no table. A quote within a path is written twice.
WITH asked(value) AS (SELECT ''),
talk AS MATERIALIZED (
  SELECT pid, path, process_name, launchd_label, protocol, local_address, local_port, remote_address, remote_port, direction, verdict, app_protocol, reasons,
         violations, bytes_in, bytes_out, lopsided, entropy_ratio, first_seen, last_seen, allowlist_rule, community_id
  FROM asked CROSS JOIN socket_tls_conformance
  WHERE asked.value <> ''
), jobs AS MATERIALIZED (
  SELECT DISTINCT label, plist_path, path, pid FROM asked CROSS JOIN launchd_crypto_linkage WHERE asked.value <> ''
), running AS MATERIALIZED (
  SELECT pid, path, name FROM asked CROSS JOIN processes WHERE asked.value <> ''
), sockets AS MATERIALIZED (
  SELECT pid, fd, protocol, local_address, local_port, remote_address, remote_port, state
  FROM asked CROSS JOIN process_open_sockets
  WHERE asked.value <> '' AND family IN (2, 10, 30)
), subject AS MATERIALIZED (
  SELECT pid FROM talk, asked WHERE pid > 0 AND value IN (CAST(pid AS TEXT), path, launchd_label, remote_address)
  UNION SELECT pid FROM running, asked WHERE value IN (CAST(pid AS TEXT), path)
  UNION SELECT pid FROM jobs, asked WHERE pid > 0 AND value IN (CAST(pid AS TEXT), path, label, plist_path)
  UNION SELECT pid FROM sockets, asked WHERE value = remote_address
), flows AS MATERIALIZED (
  SELECT talk.* FROM talk, asked
  WHERE value IN (path, launchd_label, remote_address) OR pid IN (SELECT pid FROM subject)
)
SELECT flows.pid, flows.path, process_name, launchd_label, fd, ifnull(state, '') AS state, flows.protocol, flows.local_address, flows.local_port,
       flows.remote_address, flows.remote_port, direction, verdict, app_protocol, reasons, violations, bytes_in, bytes_out, lopsided, entropy_ratio,
       first_seen, last_seen, allowlist_rule, community_id,
       CASE WHEN flows.path LIKE '/%' THEN 'path:' || flows.path || ' to ' || flows.remote_address || ' port ' || flows.remote_port ELSE '' END AS exception_key
FROM flows LEFT JOIN sockets ON sockets.pid = flows.pid AND sockets.protocol = flows.protocol AND sockets.local_port = flows.local_port
     AND sockets.remote_port = flows.remote_port AND sockets.remote_address = flows.remote_address
UNION ALL
SELECT sockets.pid, ifnull(running.path, ''), ifnull(running.name, ''), '', fd, state, sockets.protocol, sockets.local_address, sockets.local_port,
       sockets.remote_address, sockets.remote_port, '', '', '', '', '', NULL, NULL, NULL, NULL, NULL, NULL, '', '',
       CASE WHEN running.path LIKE '/%' THEN 'path:' || running.path || ' to ' || sockets.remote_address || ' port ' || sockets.remote_port ELSE '' END
FROM sockets LEFT JOIN running ON running.pid = sockets.pid
WHERE sockets.pid IN (SELECT pid FROM subject)
  AND NOT EXISTS (SELECT 1 FROM flows WHERE flows.pid = sockets.pid AND flows.protocol = sockets.protocol AND flows.local_port = sockets.local_port
                                        AND flows.remote_port = sockets.remote_port AND flows.remote_address = sockets.remote_address)
ORDER BY 1, 22 DESC, 9
LIMIT 2000
