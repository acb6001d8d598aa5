-- description: Signature, hashes and times of the executables behind one pid, path, label or remote address
-- attack: AN0402, DET0143, T1573.001
-- kind: response
-- platform: darwin
-- interval: 0
-- snapshot: true
-- false_positives: None. It shows what is there.
-- response: Keep the executable. Look for sha256 and cdhash on other hosts. Where codesign_cdhash and cdhash differ, the file changed between two looks.
--   Paste one value between the quotes of the first line - a pid, a path, a launchd label (or a systemd unit) or a remote address. With nothing
--   pasted it asks no table. A quote within a path is written twice.
WITH asked(value) AS (SELECT ''),
talk AS MATERIALIZED (
  SELECT pid, path, launchd_label, remote_address FROM asked CROSS JOIN socket_tls_conformance WHERE asked.value <> ''
), running AS MATERIALIZED (
  SELECT pid, path FROM asked CROSS JOIN processes WHERE asked.value <> ''
), jobs AS MATERIALIZED (
  SELECT DISTINCT label, plist_path, path, payload_path, pid FROM asked CROSS JOIN launchd_crypto_linkage WHERE asked.value <> ''
), subject AS MATERIALIZED (
  SELECT path FROM talk, asked WHERE value IN (CAST(pid AS TEXT), path, launchd_label, remote_address) AND path LIKE '/%'
  UNION SELECT path FROM running, asked WHERE value IN (CAST(pid AS TEXT), path) AND path LIKE '/%'
  UNION SELECT path FROM jobs, asked WHERE value IN (CAST(pid AS TEXT), path, label, plist_path) AND path LIKE '/%'
  UNION SELECT payload_path FROM jobs, asked WHERE value IN (CAST(pid AS TEXT), path, label, plist_path) AND payload_path LIKE '/%'
  UNION SELECT value FROM asked WHERE value LIKE '/%'
), ours AS MATERIALIZED (
  SELECT path, signature, signing_id, team_id, claimed_team_id, cdhash, hardened_runtime, signature_checked, identity, uuid, runtime, error,
         group_concat(DISTINCT CASE WHEN class = 'symmetric' THEN provider || ' (' || evidence || ')' END) AS symmetric_crypto,
         group_concat(DISTINCT CASE WHEN class = 'symmetric' THEN symbols END) AS symbols
  FROM asked CROSS JOIN file_crypto_linkage
  WHERE asked.value <> '' AND path IN (SELECT path FROM subject)
  GROUP BY path
), codesign AS MATERIALIZED (
  SELECT path, max(signed) AS signed, group_concat(DISTINCT identifier) AS identifier, group_concat(DISTINCT cdhash) AS cdhash,
         group_concat(DISTINCT team_identifier) AS team_identifier, group_concat(DISTINCT authority) AS authority
  FROM asked CROSS JOIN signature
  WHERE asked.value <> '' AND path IN (SELECT path FROM subject) AND hash_resources = 0
  GROUP BY path
), hashes AS MATERIALIZED (
  SELECT path, max(sha256) AS sha256 FROM asked CROSS JOIN hash WHERE asked.value <> '' AND path IN (SELECT path FROM subject) GROUP BY path
), times AS MATERIALIZED (
  SELECT path, size, uid, mode, mtime, ctime, btime FROM asked CROSS JOIN file WHERE asked.value <> '' AND path IN (SELECT path FROM subject)
)
SELECT subject.path, sha256, size, uid AS file_uid, mode AS file_mode, btime AS file_created, mtime AS file_modified, ctime AS file_changed,
       signature, signing_id, team_id, claimed_team_id, ours.cdhash, hardened_runtime, signature_checked, uuid, runtime, symmetric_crypto, symbols,
       signed AS codesign_signed, identifier AS codesign_identifier, team_identifier AS codesign_team, codesign.cdhash AS codesign_cdhash, authority AS codesign_authority,
       error, ifnull(identity, '') AS exception_key
FROM subject LEFT JOIN ours ON ours.path = subject.path LEFT JOIN codesign ON codesign.path = subject.path
     LEFT JOIN hashes ON hashes.path = subject.path LEFT JOIN times ON times.path = subject.path
ORDER BY subject.path
