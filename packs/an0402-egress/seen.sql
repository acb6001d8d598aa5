-- description: Each program, port and verdict outside port_profiles as it turns up, so that the lines of a day together are the whole day
-- attack: AN0402, DET0143, T1573.001, T1571
-- kind: figures
-- platform: darwin,linux
-- interval: 900
-- removed: false
-- false_positives: Every service on a port of its own, until port_profiles say what is normal there. What pauses for longer than time_window is logged again
--   when it is back.
-- response: Count hosts by identity and remote_port where logs are read. What one host alone does is worth a look, what all do a port profile.
WITH outside AS MATERIALIZED (
  -- No figures and no addresses: they would make every run a new line.
  SELECT DISTINCT path, CASE WHEN path = '' THEN process_name ELSE '' END AS process_name, launchd_label, protocol, remote_port, verdict, app_protocol,
         CASE WHEN port_expected = 0 THEN 'other_than_profile' ELSE 'no_profile' END AS profile
  FROM socket_tls_conformance
  WHERE direction = 'outbound' AND remote_scope IN ('public', 'private') AND ifnull(port_expected, 0) = 0 AND allowlist_rule = ''
    AND verdict <> 'undetermined'
), signer AS MATERIALIZED (
  SELECT path, max(team_id) AS team_id, max(identity) AS identity
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM outside)
  GROUP BY path
)
SELECT ifnull(identity, '') AS identity, ifnull(team_id, '') AS team_id, outside.path, process_name, launchd_label, protocol, remote_port, verdict, app_protocol, profile,
       CASE WHEN ifnull(identity, '') = '' THEN '' ELSE identity || ' port ' || remote_port END AS exception_key
FROM outside LEFT JOIN signer ON signer.path = outside.path
