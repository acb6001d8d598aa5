-- description: Each thing that this host can or cannot see as one line with ok, degraded and blind as numbers that add up across a fleet
-- attack: AN0402, DET0143, T1573.001
-- kind: evidence
-- platform: darwin,linux
-- interval: 86400
-- snapshot: true
-- false_positives: None.
-- response: Add up ok, degraded and blind by platform and name. A name with a share of ok below the other platform's is where coverage is to be evened out.
WITH items AS MATERIALIZED (SELECT name, state, detail, advice, count, error FROM cipherlens_coverage),
host AS MATERIALIZED (SELECT platform_mask FROM osquery_info)
SELECT CASE WHEN platform_mask & 16 THEN 'darwin' WHEN platform_mask & 8 THEN 'linux' ELSE 'other' END AS platform, name, state,
       state = 'ok' AS ok, state = 'degraded' AS degraded, state = 'blind' AS blind, detail, advice, count, error, name || ':' || state AS exception_key
FROM items CROSS JOIN host
