-- The share of hosts that see everything that the analytic cannot do without, by platform: the evidence that macOS is covered like the rest. A host whose
-- last line is older than a day before the newest one is silent, which is not ok. all_ok counts hosts without any blind spot.
SELECT platform, count() AS hosts, countIf(essential = 'ok') AS ok, countIf(essential = 'degraded') AS degraded, countIf(essential = 'blind') AS blind,
    countIf(essential = 'silent') AS silent, countIf(essential != 'silent' AND state = 'ok') AS all_ok, round(ok / hosts, 4) AS share_ok
FROM
(
    SELECT host, argMax(platform, time) AS platform, argMax(state, time) AS state,
        if(max(time) < (SELECT max(time) - 86400 FROM cipherlens.coverage), 'silent', argMax(essential, time)) AS essential
    FROM cipherlens.coverage
    GROUP BY host
)
GROUP BY platform
ORDER BY platform
