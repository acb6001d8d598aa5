-- description: Software that encrypts by itself and talks in random bytes, or bytes that only pretend to be TLS
-- attack: AN0402, DET0143, T1573.001
-- kind: finding
-- platform: darwin,linux
-- interval: 300
-- removed: false
-- false_positives: Messengers, games, VPN and remote support tools with a protocol of their own that is random by nature. Approve them in
--   the allowlist, by team and destination.
-- response: Read launchd_label, plist_path and persistence (who starts it), signature and team_id (who made it), symbols (what it can do) and
--   remote_address (whom it talks to). Paste pid, path, label or remote_address into the queries of an0402-response. A program nobody
--   knows - isolate the host, keep plist and executable, then look for cdhash and remote_address on other hosts.
WITH odd AS MATERIALIZED (
  -- The first flow of each finding: later ones add nothing, so that one finding stays one line.
  SELECT min(first_seen), pid, path, process_name, launchd_label, verdict, violations, header_bytes, protocol, remote_address, remote_port
  FROM socket_tls_conformance
  WHERE verdict IN ('random', 'tls_mimic') AND direction = 'outbound' AND allowlist_rule = '' AND remote_scope IN ('public', 'private')
  GROUP BY launchd_label, path, process_name, verdict, protocol, remote_address, remote_port
), crypto AS MATERIALIZED (
  SELECT path, signature, signing_id, team_id, cdhash, identity,
         -- What is certain where there is any, else what the image carries marks of.
         ifnull(group_concat(DISTINCT CASE WHEN class = 'symmetric' AND evidence = 'strong' THEN provider END),
                group_concat(DISTINCT CASE WHEN class = 'symmetric' THEN provider END)) AS provider,
         ifnull(group_concat(DISTINCT CASE WHEN class = 'symmetric' AND evidence = 'strong' THEN symbols END),
                group_concat(DISTINCT CASE WHEN class = 'symmetric' THEN symbols END)) AS symbols,
         max(class = 'symmetric') AS marked, max(class = 'symmetric' AND evidence = 'strong') AS strong,
         max(class = 'symmetric' AND evidence = 'strong' AND provider IN ('security_framework', 'cssm_cdsa', 'commoncrypto', 'cryptokit', 'corecrypto')) AS apple_api
  FROM file_crypto_linkage
  WHERE path IN (SELECT path FROM odd)
  GROUP BY path
), jobs AS MATERIALIZED (
  -- An interpreter job's crypto is its payload's.
  SELECT label, min(plist_path) AS plist_path, max(keep_alive) AS keep_alive, max(run_at_load) AS run_at_load,
         max(class = 'symmetric') AS marked, max(class = 'symmetric' AND evidence = 'strong') AS strong,
         max(class = 'symmetric' AND evidence = 'strong' AND provider IN ('security_framework', 'cssm_cdsa', 'commoncrypto', 'cryptokit', 'corecrypto')) AS apple_api
  FROM launchd_crypto_linkage
  WHERE label IN (SELECT launchd_label FROM odd WHERE launchd_label <> '')
  GROUP BY label
), facts AS (
  SELECT odd.*, jobs.label IS NOT NULL AS is_job, ifnull(jobs.plist_path, '') AS plist_path,
         CASE WHEN odd.launchd_label = '' THEN '' WHEN jobs.keep_alive THEN 'keep_alive' WHEN jobs.run_at_load THEN 'run_at_load' ELSE 'on_demand' END AS persistence,
         ifnull(crypto.signature, '') AS signature, ifnull(crypto.signing_id, '') AS signing_id, ifnull(crypto.team_id, '') AS team_id,
         ifnull(crypto.cdhash, '') AS cdhash, ifnull(crypto.identity, '') AS identity,
         ifnull(crypto.provider, '') AS provider, ifnull(crypto.symbols, '') AS symbols,
         max(ifnull(crypto.apple_api, 0), ifnull(jobs.apple_api, 0)) AS apple_api, max(ifnull(crypto.strong, 0), ifnull(jobs.strong, 0)) AS strong,
         max(ifnull(crypto.marked, 0), ifnull(jobs.marked, 0)) AS marked
  FROM odd LEFT JOIN crypto ON crypto.path = odd.path LEFT JOIN jobs ON jobs.label = odd.launchd_label
), findings AS (
  -- Marks of a linked-in library count where nobody vouches for the program: signed software often carries a TLS library of its own.
  SELECT CASE WHEN apple_api AND (is_job OR signature <> 'apple') THEN 'high' WHEN strong OR verdict = 'tls_mimic' THEN 'medium'
              WHEN marked AND signature IN ('', 'adhoc', 'unsigned', 'invalid') THEN 'medium' ELSE 'low' END AS severity,
         -- Only what does not change while the finding lasts: lopsided and regular traffic are in the query flows.
         CASE WHEN launchd_label = '' THEN '' ELSE 'launchd_job,' END || CASE WHEN signature = '' THEN '' ELSE 'signature_' || signature || ',' END ||
           CASE WHEN apple_api THEN 'apple_symmetric_api,' WHEN strong THEN 'symmetric_api,' WHEN marked THEN 'symmetric_marker,' ELSE '' END || verdict AS reasons,
         launchd_label, plist_path, persistence, path, process_name, pid, signature, signing_id, team_id, cdhash, provider, symbols,
         protocol, remote_address, remote_port, verdict,
         CASE verdict WHEN 'tls_mimic' THEN violations
                      ELSE 'random' || CASE WHEN header_bytes > 0 THEN ' after ' || header_bytes || ' clear bytes' ELSE ' from the start' END
         END AS why,
         CASE WHEN identity = '' THEN '' ELSE identity || ' to ' || remote_address || ' port ' || remote_port END AS exception_key
  FROM facts
)
SELECT * FROM findings WHERE severity <> 'low'
