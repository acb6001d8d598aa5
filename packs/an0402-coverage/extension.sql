-- description: Whether the sensor runs at all on this host - one line a host, also where it does not
-- attack: AN0402, DET0143, T1573.001
-- kind: evidence
-- platform: darwin,linux
-- interval: 3600
-- snapshot: true
-- false_positives: None. Within the first seconds of osquery the extension may not have registered yet.
-- response: Hosts with present 0 see nothing of AN0402. Count present by platform over the fleet, and mend the installation where it is 0. This
--   query uses osquery's own tables only, so that it answers where the others fail.
SELECT CASE WHEN info.platform_mask & 16 THEN 'darwin' WHEN info.platform_mask & 8 THEN 'linux' ELSE 'other' END AS platform, info.version AS osquery_version,
       count(extensions.name) > 0 AS present, ifnull(max(extensions.version), '') AS extension_version, 'extension:' || CASE WHEN count(extensions.name) > 0 THEN 'ok' ELSE 'blind' END AS exception_key
FROM osquery_info AS info LEFT JOIN (SELECT name, version FROM osquery_extensions WHERE name = 'cipherlens' AND type = 'extension') AS extensions
GROUP BY info.platform_mask, info.version
