-- description: The processes behind one pid, path, label or remote address, each with its parents up to launchd (systemd)
-- attack: AN0402, DET0143, T1573.001
-- kind: response
-- platform: darwin,linux
-- interval: 0
-- snapshot: true
-- false_positives: None. It shows what is there.
-- response: Read generation 0 first, then its parents. A parent that is neither launchd, a shell in a terminal nor an updater is part of the incident.
--   Paste one value between the quotes of the first line - a pid, a path, a launchd label (or a systemd unit) or a remote address. With nothing
--   pasted it asks no table. A quote within a path is written twice.
WITH asked(value) AS (SELECT ''),
talk AS MATERIALIZED (
  SELECT pid, path, launchd_label, remote_address FROM asked CROSS JOIN socket_tls_conformance WHERE asked.value <> ''
), jobs AS MATERIALIZED (
  SELECT DISTINCT label, plist_path, path, pid FROM asked CROSS JOIN launchd_crypto_linkage WHERE asked.value <> ''
), running AS MATERIALIZED (
  SELECT pid, parent, name, path, cmdline, cwd, uid, euid, start_time, on_disk, state FROM asked CROSS JOIN processes WHERE asked.value <> ''
), subject AS MATERIALIZED (
  SELECT pid FROM running, asked WHERE value IN (CAST(pid AS TEXT), path)
  UNION SELECT pid FROM talk, asked WHERE value IN (CAST(pid AS TEXT), path, launchd_label, remote_address)
  UNION SELECT pid FROM jobs, asked WHERE value IN (CAST(pid AS TEXT), path, label, plist_path)
), chain(of_pid, generation, pid, parent, name, path, cmdline, cwd, uid, euid, start_time, on_disk, state) AS (
  SELECT pid, 0, pid, parent, name, path, cmdline, cwd, uid, euid, start_time, on_disk, state FROM running WHERE pid IN (SELECT pid FROM subject)
  UNION
  SELECT of_pid, generation + 1, up.pid, up.parent, up.name, up.path, up.cmdline, up.cwd, up.uid, up.euid, up.start_time, up.on_disk, up.state
  FROM chain JOIN running AS up ON up.pid = chain.parent
  WHERE generation < 64 AND up.pid <> chain.pid
)
SELECT of_pid, generation, chain.pid, parent, name, chain.path, cmdline, cwd, uid, euid, start_time, on_disk, state,
       ifnull((SELECT max(label) FROM jobs WHERE jobs.pid = chain.pid), '') AS launchd_label,
       CASE WHEN chain.path LIKE '/%' THEN 'path:' || chain.path ELSE '' END AS exception_key
FROM chain
ORDER BY of_pid, generation
LIMIT 2000
