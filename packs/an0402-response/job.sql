-- description: The launchd jobs behind one pid, path, label or remote address - their property list, its times and its owner
-- attack: AN0402, DET0143, T1573.001, T1543.001, T1543.004
-- kind: response
-- platform: darwin
-- interval: 0
-- snapshot: true
-- false_positives: None. It shows what is there.
-- response: Keep the property list (plist_path) before anything is removed. Compare plist_created with the program's own times in the query signature.
--   Paste one value between the quotes of the first line - a pid, a path, a launchd label (or a systemd unit) or a remote address. With nothing
--   pasted it asks no table. A quote within a path is written twice.
WITH asked(value) AS (SELECT ''),
talk AS MATERIALIZED (
  SELECT pid, path, launchd_label, remote_address FROM asked CROSS JOIN socket_tls_conformance WHERE asked.value <> ''
), running AS MATERIALIZED (
  SELECT pid, path FROM asked CROSS JOIN processes WHERE asked.value <> ''
), jobs AS MATERIALIZED (
  SELECT label, plist_path, path, domain, username, program, interpreter, payload_path, payload_kind, run_at_load, keep_alive, enabled, pid,
         max(signature) AS signature, max(team_id) AS team_id, max(cdhash) AS cdhash, max(identity) AS identity,
         group_concat(DISTINCT CASE WHEN class = 'symmetric' THEN provider END) AS symmetric_crypto
  FROM asked CROSS JOIN launchd_crypto_linkage
  WHERE asked.value <> ''
  GROUP BY label, plist_path, path
), subject AS MATERIALIZED (
  SELECT launchd_label AS label, path FROM talk, asked WHERE value IN (CAST(pid AS TEXT), path, launchd_label, remote_address)
  UNION SELECT '', path FROM running, asked WHERE value IN (CAST(pid AS TEXT), path)
), found AS MATERIALIZED (
  SELECT jobs.* FROM jobs, asked
  WHERE value IN (label, plist_path, path, payload_path, CAST(pid AS TEXT)) OR label IN (SELECT label FROM subject WHERE label <> '')
     OR path IN (SELECT path FROM subject WHERE path <> '')
), declared AS MATERIALIZED (
  SELECT path, program_arguments, start_interval, start_on_mount, watch_paths, queue_directories, stdout_path, stderr_path, working_directory, process_type
  FROM asked CROSS JOIN launchd
  WHERE asked.value <> ''
), times AS MATERIALIZED (
  SELECT path, uid, mode, mtime, ctime, btime FROM asked CROSS JOIN file
  WHERE asked.value <> '' AND path IN (SELECT plist_path FROM found WHERE plist_path <> '')
)
SELECT label, found.plist_path, btime AS plist_created, mtime AS plist_modified, ctime AS plist_changed, uid AS plist_uid, mode AS plist_mode,
       domain, username, found.path, program, program_arguments, interpreter, payload_path, payload_kind, run_at_load, keep_alive, start_interval,
       start_on_mount, watch_paths, queue_directories, stdout_path, stderr_path, working_directory, process_type, enabled, pid,
       symmetric_crypto, signature, team_id, cdhash, identity AS exception_key
FROM found LEFT JOIN declared ON declared.path = found.plist_path LEFT JOIN times ON times.path = found.plist_path
ORDER BY label, found.plist_path
