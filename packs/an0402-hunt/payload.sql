-- description: HTTP, WebSocket and DNS whose payload is as random as ciphertext in both directions, by programs that nobody vouches for
-- attack: AN0402, DET0143, T1573.001
-- kind: figures
-- platform: darwin,linux
-- interval: 0
-- snapshot: true
-- false_positives: Licence checks, antivirus look-ups, games and messengers that encrypt or compress within HTTP; VMess and other proxies over WebSocket;
--   tunnels through DNS that somebody set up on purpose. On Linux nothing is signed, so there every program is listed.
-- response: This is evidence, no alert - whoever speaks HTTP may encrypt a body. Ask whose program it is and whether its server is its maker's. Paste path
--   into lineage, signature and reach of an0402-response.
WITH odd AS MATERIALIZED (
  SELECT first_seen, last_seen, pid, path, process_name, launchd_label, protocol, remote_address, remote_port, app_protocol, reasons, bytes_in, bytes_out
  FROM socket_tls_conformance
  WHERE verdict = 'known_protocol' AND direction = 'outbound' AND allowlist_rule = '' AND remote_scope IN ('public', 'private')
    AND reasons LIKE '%random_payload%'
), talkers AS MATERIALIZED (
  SELECT launchd_label, path, process_name, max(pid) AS pid, protocol, remote_address, remote_port, app_protocol, count(*) AS flows,
         sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in, min(first_seen) AS first_seen, max(last_seen) AS last_seen
  FROM odd
  GROUP BY launchd_label, path, process_name, protocol, remote_address, remote_port, app_protocol
), signer AS MATERIALIZED (
  SELECT path, max(signature) AS signature, max(team_id) AS team_id, max(identity) AS identity, max(class = 'symmetric' AND evidence = 'strong') AS strong
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM talkers)
  GROUP BY path
)
SELECT launchd_label, talkers.path, process_name, pid, ifnull(signature, '') AS signature, ifnull(team_id, '') AS team_id, ifnull(strong, 0) AS strong_symmetric,
       app_protocol, protocol, remote_address, remote_port, flows, bytes_out, bytes_in, first_seen, last_seen,
       CASE WHEN ifnull(identity, '') = '' THEN '' ELSE identity || ' to ' || remote_address || ' port ' || remote_port END AS exception_key
FROM talkers LEFT JOIN signer ON signer.path = talkers.path
WHERE ifnull(signature, '') IN ('', 'adhoc', 'unsigned', 'invalid')
ORDER BY strong_symmetric DESC, last_seen DESC, remote_address, remote_port
LIMIT 500
