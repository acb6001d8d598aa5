-- description: Software that encrypts by itself and talks in random bytes, or bytes that only pretend to be TLS
-- attack: AN0402, DET0143, T1573.001
-- platform: darwin,linux
-- interval: 300
-- removed: false
-- false_positives: Messengers, games, VPN and remote support tools with a protocol of their own that is random by nature. Approve them in
--   the allowlist, by team and destination.
-- response: Read launchd_label and plist_path (who starts it), signature and team_id (who made it), symbols (what it can do) and
--   remote_address (whom it talks to). A program nobody knows: isolate the host, keep plist and executable, then look for cdhash and
--   remote_address on other hosts.
WITH odd AS MATERIALIZED (
  -- The first flow of each finding: later ones add nothing, so that one finding stays one line.
  SELECT min(first_seen), pid, path, process_name, launchd_label, verdict, violations, header_bytes, protocol, remote_address, remote_port
  FROM socket_tls_conformance
  WHERE verdict IN ('random', 'tls_mimic') AND direction = 'outbound' AND allowlist_rule = '' AND remote_scope IN ('public', 'private')
  GROUP BY launchd_label, path, process_name, verdict, protocol, remote_address, remote_port
), crypto AS MATERIALIZED (
  SELECT path, signature, signing_id, team_id, cdhash,
         group_concat(DISTINCT CASE WHEN class = 'symmetric' AND evidence = 'strong' THEN provider END) AS provider,
         group_concat(DISTINCT CASE WHEN class = 'symmetric' AND evidence = 'strong' THEN symbols END) AS symbols,
         max(class = 'symmetric' AND evidence = 'strong') AS strong,
         max(class = 'symmetric' AND evidence = 'strong' AND provider IN ('security_framework', 'cssm_cdsa', 'commoncrypto', 'cryptokit', 'corecrypto')) AS apple_api
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM odd)
  GROUP BY path
), jobs AS MATERIALIZED (
  -- An interpreter job's crypto is its payload's.
  SELECT label, min(plist_path) AS plist_path,
         max(class = 'symmetric' AND evidence = 'strong') AS strong,
         max(class = 'symmetric' AND evidence = 'strong' AND provider IN ('security_framework', 'cssm_cdsa', 'commoncrypto', 'cryptokit', 'corecrypto')) AS apple_api
  FROM launchd_crypto_linkage
  WHERE label IN (SELECT launchd_label FROM odd WHERE launchd_label <> '')
  GROUP BY label
), findings AS (
  SELECT CASE
           WHEN max(ifnull(crypto.apple_api, 0), ifnull(jobs.apple_api, 0)) AND (jobs.label IS NOT NULL OR crypto.signature <> 'apple') THEN 'high'
           WHEN max(ifnull(crypto.strong, 0), ifnull(jobs.strong, 0)) OR odd.verdict = 'tls_mimic' THEN 'medium'
           ELSE 'low'
         END AS severity,
         odd.launchd_label, ifnull(jobs.plist_path, '') AS plist_path, odd.path, odd.process_name, odd.pid,
         ifnull(crypto.signature, '') AS signature, ifnull(crypto.signing_id, '') AS signing_id, ifnull(crypto.team_id, '') AS team_id,
         ifnull(crypto.cdhash, '') AS cdhash, ifnull(crypto.provider, '') AS provider, ifnull(crypto.symbols, '') AS symbols,
         odd.protocol, odd.remote_address, odd.remote_port, odd.verdict,
         CASE odd.verdict WHEN 'tls_mimic' THEN odd.violations
                          ELSE 'random' || CASE WHEN odd.header_bytes > 0 THEN ' after ' || odd.header_bytes || ' clear bytes' ELSE ' from the start' END
         END AS why
  FROM odd LEFT JOIN crypto ON crypto.path = odd.path LEFT JOIN jobs ON jobs.label = odd.launchd_label
)
SELECT * FROM findings WHERE severity <> 'low'
