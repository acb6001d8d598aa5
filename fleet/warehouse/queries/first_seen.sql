-- Findings that the fleet saw for the first time on its newest day.
SELECT identity, remote_address, remote_port, min(time) AS first_seen, uniqExact(host) AS hosts, any(severity) AS severity_of_one, any(launchd_label) AS label_of_one
FROM cipherlens.findings
GROUP BY identity, remote_address, remote_port
HAVING toDate(first_seen) = (SELECT max(day) FROM cipherlens.findings)
ORDER BY first_seen, identity, remote_address, remote_port
