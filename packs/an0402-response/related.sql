-- description: Other jobs, processes and files signed by the same team or with the same code directory hash
-- attack: AN0402, DET0143, T1573.001
-- kind: response
-- platform: darwin
-- interval: 0
-- snapshot: true
-- false_positives: A team that signs much of what is on the host, such as Google's or Microsoft's.
-- response: What an ad hoc signed program has in common is its cdhash. What came with it often has the team or lies in the same folder. Look for both on other hosts.
--   Paste one value between the quotes of the first line - a pid, a path, a launchd label (or a systemd unit) or a remote address. With nothing
--   pasted it asks no table. A quote within a path is written twice.
WITH asked(value) AS (SELECT ''),
talk AS MATERIALIZED (
  SELECT pid, path, launchd_label, remote_address FROM asked CROSS JOIN socket_tls_conformance WHERE asked.value <> ''
), jobs AS MATERIALIZED (
  SELECT DISTINCT label, plist_path, path, pid, signature, signing_id, team_id, claimed_team_id, cdhash, identity
  FROM asked CROSS JOIN launchd_crypto_linkage
  WHERE asked.value <> ''
), running AS MATERIALIZED (
  SELECT DISTINCT pid, path, process_name, launchd_label, signature, signing_id, team_id, claimed_team_id, cdhash, identity
  FROM asked CROSS JOIN process_crypto_linkage
  WHERE asked.value <> ''
), subject AS MATERIALIZED (
  SELECT path FROM talk, asked WHERE value IN (CAST(pid AS TEXT), path, launchd_label, remote_address) AND path LIKE '/%'
  UNION SELECT path FROM running, asked WHERE value IN (CAST(pid AS TEXT), path, launchd_label) AND path LIKE '/%'
  UNION SELECT path FROM jobs, asked WHERE value IN (CAST(pid AS TEXT), path, label, plist_path) AND path LIKE '/%'
  UNION SELECT value FROM asked WHERE value LIKE '/%'
), folder AS MATERIALIZED (
  -- The folder of the program that was asked for: one pattern, since each would be a call of its own.
  SELECT rtrim(path, replace(path, '/', '')) || '%' AS pattern FROM (SELECT min(path) AS path FROM subject) WHERE path IS NOT NULL
), files AS MATERIALIZED (
  SELECT DISTINCT path, signature, signing_id, team_id, claimed_team_id, cdhash, identity
  FROM folder CROSS JOIN file_crypto_linkage
  WHERE path LIKE folder.pattern
), signed AS MATERIALIZED (
  SELECT 'job' AS kind, label AS name, plist_path, path, pid, signature, signing_id, team_id, claimed_team_id, cdhash, identity FROM jobs
  UNION ALL SELECT 'process', process_name, '', path, pid, signature, signing_id, team_id, claimed_team_id, cdhash, identity FROM running
  UNION ALL SELECT 'file', '', '', path, -1, signature, signing_id, team_id, claimed_team_id, cdhash, identity FROM files
), who AS MATERIALIZED (
  SELECT DISTINCT team_id, claimed_team_id, cdhash FROM signed WHERE path IN (SELECT path FROM subject) AND signature <> 'apple'
)
SELECT kind, name, plist_path, path, pid, signature, signing_id, team_id, claimed_team_id, cdhash, path IN (SELECT path FROM subject) AS asked_for,
       CASE WHEN cdhash <> '' AND cdhash IN (SELECT cdhash FROM who) THEN 'cdhash,' ELSE '' END ||
         CASE WHEN team_id <> '' AND team_id IN (SELECT team_id FROM who) THEN 'team,' ELSE '' END ||
         CASE WHEN claimed_team_id <> '' AND claimed_team_id IN (SELECT claimed_team_id FROM who) THEN 'claimed_team,' ELSE '' END AS same,
       identity AS exception_key
FROM signed
WHERE (cdhash <> '' AND cdhash IN (SELECT cdhash FROM who)) OR (team_id <> '' AND team_id IN (SELECT team_id FROM who))
   OR (claimed_team_id <> '' AND claimed_team_id IN (SELECT claimed_team_id FROM who))
ORDER BY asked_for DESC, kind, path, name, pid
LIMIT 2000
