-- description: What this host can see as one line - the share of hosts with state ok, by platform, is the evidence
-- attack: AN0402, DET0143, T1573.001
-- kind: evidence
-- platform: darwin,linux
-- interval: 3600
-- snapshot: true
-- false_positives: None.
-- response: Count hosts by platform and essential, the state of what the analytic cannot do without (capture, attribution, jobs, processes, root, Full
--   Disk Access), or by state, that of everything. blind lists what a host cannot see at all, degraded what it sees in part - late_start for the first
--   minutes after every start.
WITH items AS MATERIALIZED (
  SELECT name, state, name IN ('capture', 'attribution', 'launchd', 'processes', 'root', 'full_disk_access', 'judge') AS essential FROM cipherlens_coverage
),
host AS MATERIALIZED (SELECT platform_mask, version FROM osquery_info),
sensor AS MATERIALIZED (SELECT version FROM osquery_extensions WHERE name = 'cipherlens' AND type = 'extension')
SELECT (SELECT CASE WHEN platform_mask & 16 THEN 'darwin' WHEN platform_mask & 8 THEN 'linux' ELSE 'other' END FROM host) AS platform,
       CASE WHEN max(state = 'blind') THEN 'blind' WHEN max(state = 'degraded') THEN 'degraded' ELSE 'ok' END AS state,
       CASE WHEN max(state = 'blind' AND essential) THEN 'blind' WHEN max(state = 'degraded' AND essential) THEN 'degraded' ELSE 'ok' END AS essential,
       count(*) AS items, sum(state = 'ok') AS items_ok, sum(state = 'degraded') AS items_degraded, sum(state = 'blind') AS items_blind,
       max(CASE WHEN name = 'capture' THEN state END) AS capture, max(CASE WHEN name = 'attribution' THEN state END) AS attribution,
       max(CASE WHEN name = 'launchd' THEN state END) AS jobs, max(CASE WHEN name = 'processes' THEN state END) AS processes,
       ifnull(max(CASE WHEN name = 'full_disk_access' THEN state END), '') AS full_disk_access,
       max(CASE WHEN name = 'settings' THEN state END) AS settings, max(CASE WHEN name = 'allowlist' THEN state END) AS allowlist,
       ifnull(group_concat(CASE WHEN state = 'degraded' THEN name END), '') AS degraded, ifnull(group_concat(CASE WHEN state = 'blind' THEN name END), '') AS blind,
       (SELECT version FROM host) AS osquery_version, ifnull((SELECT max(version) FROM sensor), '') AS extension_version,
       'host:' || CASE WHEN max(state = 'blind') THEN 'blind' WHEN max(state = 'degraded') THEN 'degraded' ELSE 'ok' END AS exception_key
FROM items
