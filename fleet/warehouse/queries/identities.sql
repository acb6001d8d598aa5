-- The same by program alone.
SELECT identity, uniqExact(host) AS hosts, uniqExact(day) AS days, uniqExact(remote_address) AS destinations, min(day) AS first_day
FROM cipherlens.contacts
GROUP BY identity
ORDER BY hosts, identity
