-- description: Outbound traffic that port_profiles do not call normal, added up by program, port and verdict
-- attack: AN0402, DET0143, T1573.001, T1571
-- kind: figures
-- platform: darwin,linux
-- interval: 86400
-- snapshot: true
-- false_positives: Every service on a port of its own, until port_profiles say what is normal there.
-- response: For each line either a port profile, an allowlist rule, or an egress rule that stops it. It adds up the flows of time_window and the alerts of
--   24 hours - raise time_window to see more of the day in one answer.
WITH outside AS MATERIALIZED (
  SELECT path, process_name, launchd_label, protocol, remote_port, verdict, app_protocol, remote_scope, remote_address, bytes_out, bytes_in, first_seen, last_seen,
         port_expected
  FROM socket_tls_conformance
  WHERE direction = 'outbound' AND remote_scope IN ('public', 'private') AND ifnull(port_expected, 0) = 0 AND allowlist_rule = ''
), signer AS MATERIALIZED (
  SELECT path, max(signature) AS signature, max(team_id) AS team_id, max(identity) AS identity
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM outside)
  GROUP BY path
)
SELECT ifnull(identity, '') AS identity, ifnull(signature, '') AS signature, ifnull(team_id, '') AS team_id, outside.path,
       CASE WHEN outside.path = '' THEN process_name ELSE '' END AS process_name, launchd_label, protocol, remote_port, verdict, app_protocol,
       CASE WHEN port_expected = 0 THEN 'other_than_profile' ELSE 'no_profile' END AS profile,
       count(*) AS flows, count(DISTINCT remote_address) AS remote_addresses, min(remote_address) AS example_address, max(remote_scope = 'public') AS public,
       sum(bytes_out) AS bytes_out, sum(bytes_in) AS bytes_in, min(first_seen) AS first_seen, max(last_seen) AS last_seen,
       CASE WHEN ifnull(identity, '') = '' THEN '' ELSE identity || ' port ' || remote_port END AS exception_key
FROM outside LEFT JOIN signer ON signer.path = outside.path
GROUP BY ifnull(identity, ''), outside.path, 5, launchd_label, protocol, remote_port, verdict, app_protocol, 11
ORDER BY flows DESC, bytes_out DESC
LIMIT 1000
