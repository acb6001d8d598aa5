-- The share of hosts that see everything, by platform: the evidence that macOS is covered like the rest. A host whose last line is older than a day before the
-- newest one is silent, which is not ok.
SELECT platform, count() AS hosts, countIf(state = 'ok') AS ok, countIf(state = 'degraded') AS degraded, countIf(state = 'blind') AS blind,
    countIf(state = 'silent') AS silent, round(ok / hosts, 4) AS share_ok
FROM
(
    SELECT host, argMax(platform, time) AS platform,
        if(max(time) < (SELECT max(time) - 86400 FROM cipherlens.coverage), 'silent', argMax(state, time)) AS state
    FROM cipherlens.coverage
    GROUP BY host
)
GROUP BY platform
ORDER BY platform
