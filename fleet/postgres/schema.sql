-- osquery's result log in PostgreSQL 12 or later: a line a row, as it came, and views over it. For a few hundred hosts; for a fleet see fleet/warehouse.
--
-- Load a log file:  psql -c "\copy cipherlens.lines(line) FROM 'osqueryd.results.log' WITH (FORMAT csv, QUOTE e'\x01', DELIMITER e'\x02')"

CREATE SCHEMA IF NOT EXISTS cipherlens;

CREATE TABLE IF NOT EXISTS cipherlens.lines (line jsonb NOT NULL);

-- Rows of differential and of snapshot lines alike, under osqueryd's names and Fleet's.
CREATE OR REPLACE VIEW cipherlens.rows AS
SELECT to_timestamp((line->>'unixTime')::bigint) AS time, line->>'hostIdentifier' AS host, line->>'action' AS action,
       regexp_replace(line->>'name', '^pack[_/](Global/|team-[0-9]+/)?', '') AS query, row
FROM cipherlens.lines, jsonb_array_elements(CASE WHEN line ? 'snapshot' THEN line->'snapshot' ELSE jsonb_build_array(line->'columns') END) AS row;

CREATE OR REPLACE VIEW cipherlens.findings AS
SELECT time, host, row->>'severity' AS severity, row->>'launchd_label' AS launchd_label, row->>'path' AS path, row->>'provider' AS provider,
       row->>'remote_address' AS remote_address, (row->>'remote_port')::int AS remote_port, row->>'verdict' AS verdict, row->>'why' AS why,
       row->>'exception_key' AS exception_key
FROM cipherlens.rows
WHERE action = 'added' AND query ~ '^an040[12][_/]detection$';

-- The newest state of everything that a host can or cannot see.
CREATE OR REPLACE VIEW cipherlens.coverage AS
SELECT DISTINCT ON (host, row->>'name') host, time, row->>'name' AS name, row->>'state' AS state, row->>'detail' AS detail, row->>'advice' AS advice
FROM cipherlens.rows
WHERE query ~ '^an040[12][_/]coverage$'
ORDER BY host, row->>'name', time DESC;
