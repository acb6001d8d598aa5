-- The same by destination alone: one address that several programs talk to is one infrastructure.
SELECT remote_address, remote_port, uniqExact(host) AS hosts, uniqExact(day) AS days, uniqExact(identity) AS identities, min(day) AS first_day
FROM cipherlens.contacts
GROUP BY remote_address, remote_port
ORDER BY hosts, remote_address, remote_port
