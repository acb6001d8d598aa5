-- description: Linux programs that encrypt by themselves, or interpreters, and talk in random bytes or bytes that only pretend to be TLS
-- attack: AN0401, DET0143, T1573.001
-- kind: finding
-- platform: linux
-- interval: 300
-- removed: false
-- false_positives: VPN, sync and file sharing software with a protocol of its own, BitTorrent in an interpreter. Approve them in the allowlist by path and
--   destination. A distribution's own crypto library may be named in trusted_crypto_libs, and is no evidence then.
-- response: Read systemd_unit and unit_path (who starts it), unexpected (why it is out of place) and symbols (what it can do). Paste pid, path, unit or
--   remote_address into lineage, sockets and reach of an0402-response. Linux has no signatures, so ask the package manager whose file path is.
WITH odd AS MATERIALIZED (
  -- The first flow of each finding: later ones add nothing, so that one finding stays one line.
  SELECT min(first_seen), pid, path, process_name, launchd_label, verdict, violations, header_bytes, protocol, remote_address, remote_port,
         replace(path, rtrim(path, replace(path, '/', '')), '') AS program
  FROM socket_tls_conformance
  WHERE verdict IN ('random', 'tls_mimic') AND direction = 'outbound' AND allowlist_rule = '' AND remote_scope IN ('public', 'private')
  GROUP BY launchd_label, path, process_name, verdict, protocol, remote_address, remote_port
), crypto AS MATERIALIZED (
  SELECT path, max(identity) AS identity,
         -- What is certain where there is any, else what the image carries marks of.
         ifnull(group_concat(DISTINCT CASE WHEN class = 'symmetric' AND evidence = 'strong' THEN provider END),
                group_concat(DISTINCT CASE WHEN class = 'symmetric' THEN provider END)) AS provider,
         ifnull(group_concat(DISTINCT CASE WHEN class = 'symmetric' AND evidence = 'strong' THEN symbols END),
                group_concat(DISTINCT CASE WHEN class = 'symmetric' THEN symbols END)) AS symbols,
         max(class = 'symmetric') AS marked, max(class = 'symmetric' AND evidence = 'strong') AS strong,
         max(class = 'symmetric' AND evidence = 'strong' AND library LIKE '%libcrypto%') AS libcrypto
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM odd)
  GROUP BY path
), units AS MATERIALIZED (
  SELECT id, fragment_path, unit_file_state FROM systemd_units
), facts AS (
  SELECT odd.*, ifnull(units.fragment_path, '') AS unit_path, ifnull(units.unit_file_state, '') AS unit_file_state,
         ifnull(crypto.identity, '') AS identity, ifnull(crypto.provider, '') AS provider, ifnull(crypto.symbols, '') AS symbols,
         ifnull(crypto.strong, 0) AS strong, ifnull(crypto.marked, 0) AS marked, ifnull(crypto.libcrypto, 0) AS libcrypto,
         CASE WHEN program IN ('sh', 'bash', 'dash', 'zsh', 'ksh', 'busybox', 'awk', 'gawk', 'mawk', 'socat', 'nc', 'ncat', 'node', 'nodejs') OR program LIKE 'python%'
                OR program LIKE 'perl%' OR program LIKE 'ruby%' OR program LIKE 'php%' OR program LIKE 'lua%' THEN 'interpreter'
              WHEN odd.path LIKE '/tmp/%' OR odd.path LIKE '/var/tmp/%' OR odd.path LIKE '/dev/shm/%' OR odd.path LIKE '/run/%' OR odd.path LIKE '/home/%'
                OR odd.path LIKE '/root/%' OR odd.path LIKE '/memfd:%' OR odd.path LIKE '%/.%' THEN 'writable_folder'
              WHEN units.fragment_path LIKE '/etc/systemd/%' OR units.fragment_path LIKE '/run/systemd/%' OR units.fragment_path LIKE '/home/%'
                OR units.fragment_path LIKE '/root/%' THEN 'unit_of_no_package'
              ELSE '' END AS unexpected
  FROM odd LEFT JOIN crypto ON crypto.path = odd.path LEFT JOIN units ON units.id = odd.launchd_label
), findings AS (
  SELECT CASE WHEN strong AND unexpected <> '' THEN 'high' WHEN strong OR unexpected = 'interpreter' OR marked AND unexpected <> '' OR verdict = 'tls_mimic' THEN 'medium' ELSE 'low' END AS severity,
         CASE WHEN launchd_label = '' THEN '' ELSE 'systemd_unit,' END || CASE WHEN unexpected = '' THEN '' ELSE unexpected || ',' END ||
           CASE WHEN libcrypto THEN 'libcrypto,' WHEN strong THEN 'symmetric_api,' WHEN marked THEN 'symmetric_marker,' ELSE '' END || verdict AS reasons,
         launchd_label AS systemd_unit, unit_path, unit_file_state AS persistence, unexpected, path, process_name, pid, provider, symbols,
         protocol, remote_address, remote_port, verdict,
         CASE verdict WHEN 'tls_mimic' THEN violations
                      ELSE 'random' || CASE WHEN header_bytes > 0 THEN ' after ' || header_bytes || ' clear bytes' ELSE ' from the start' END
         END AS why,
         CASE WHEN identity = '' THEN '' ELSE identity || ' to ' || remote_address || ' port ' || remote_port END AS exception_key
  FROM facts
)
SELECT * FROM findings WHERE severity <> 'low'
