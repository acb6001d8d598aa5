-- Who talks in random bytes to where, and on how many hosts and days: the figures of "cipherlens.ext baseline learn". Few hosts: look. Many: approve or block.
SELECT identity, remote_address, remote_port, protocol, uniqExact(host) AS hosts, uniqExact(day) AS days, min(day) AS first_day, max(day) AS last_day
FROM cipherlens.contacts
GROUP BY identity, remote_address, remote_port, protocol
ORDER BY hosts DESC, identity, remote_address, remote_port, protocol
