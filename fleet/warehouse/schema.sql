-- Where osquery's result log goes in ClickHouse. Plain SQL that ClickHouse 18.16 (Debian 12) and today's both take: no JSON functions beyond
-- visitParam*, whose newer name is simpleJSON*.
--
-- A line goes into "lines", which keeps nothing; three views take out of it what is counted:
--   findings  what the detections report, a row a line
--   contacts  who talked in random bytes to where, one row a host, day, identity, destination and verdict: what "cipherlens.ext baseline" counts (an identity
--             is exception_key without its end " to ADDRESS port PORT", else signing:TEAM:ID, team:TEAM, Apple's signing:ID, cdhash:HEX or path:PATH; a day is
--             UTC; a destination is address, port and protocol)
--   coverage  what each host can see
-- Each view stands on "lines" alone: old servers and new ones disagree on what a view behind a view gets.
-- Result lines come as osquery's filesystem, TLS, Kafka and AWS loggers write them: a row a line, a snapshot, or the added rows of a batch
-- (--logger_event_type=false); under osqueryd's names (pack_an0402_detection) and Fleet's (pack/Global/an0402_detection). A request of the TLS logger holds
-- several: insert the elements of its "data".
--
-- Every value of a row is a string (--logger_numerics is false, its default), and a quote within a string is written \". With the escaped pairs masked, every
-- quote that is left is structure: so an object ends at its first "}, an array at its first "}], rows part at "},{", and what an attacker names a file
-- forges no column.

CREATE DATABASE IF NOT EXISTS cipherlens;

CREATE TABLE IF NOT EXISTS cipherlens.lines (line String) ENGINE = Null;

CREATE TABLE IF NOT EXISTS cipherlens.findings
(
    day Date, time DateTime, host String, severity String, identity String, launchd_label String, path String, process_name String,
    signature String, team_id String, cdhash String, provider String, protocol UInt8, remote_address String, remote_port UInt16, verdict String, why String
)
ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY (identity, remote_address, remote_port, host, time);

CREATE TABLE IF NOT EXISTS cipherlens.contacts
(
    day Date, identity String, remote_address String, remote_port UInt16, protocol UInt8, verdict String, host String
)
ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(day) ORDER BY (identity, remote_address, remote_port, protocol, verdict, day, host);

CREATE TABLE IF NOT EXISTS cipherlens.coverage
(
    day Date, time DateTime, host String, platform String, essential String, state String, blind String, degraded String, extension_version String
)
ENGINE = MergeTree PARTITION BY toYYYYMM(day) ORDER BY (day, host, time);

CREATE MATERIALIZED VIEW IF NOT EXISTS cipherlens.to_findings TO cipherlens.findings AS
WITH
    replaceAll(replaceAll(line, '\\\\', '..'), '\\"', '..') AS mask,
    multiIf(position(mask, '"snapshot":[') > 0, position(mask, '"snapshot":[') + 11, position(mask, '"added":[') > 0, position(mask, '"added":[') + 8, 0) AS listed,
    position(mask, '"columns":{') AS alone,
    if(listed > 0, listed, alone + 10) AS at,
    if(listed = 0, position(substring(mask, at), '"}') + 1, if(substring(line, at, 2) = '[]', 2, position(substring(mask, at), '"}]') + 2)) AS size,
    concat(substring(line, 1, at - 1), substring(line, at + size)) AS head,
    if(listed > 0, substring(line, at + 3, size - 6), substring(line, at + 2, size - 4)) AS inside,
    concat('"', arrayJoin(splitByString('"},{"', inside)), '"') AS row,
    replaceRegexpOne(visitParamExtractString(head, 'name'), '^pack[_/](Global/|team-[0-9]+/)?', '') AS query,
    visitParamExtractString(row, 'exception_key') AS key,
    concat(' to ', visitParamExtractString(row, 'remote_address'), ' port ', visitParamExtractString(row, 'remote_port')) AS destination,
    multiIf(length(key) > length(destination) AND substring(key, length(key) - length(destination) + 1) = destination,
            substring(key, 1, length(key) - length(destination)),
        visitParamExtractString(row, 'team_id') != '' AND visitParamExtractString(row, 'signing_id') != '',
            concat('signing:', visitParamExtractString(row, 'team_id'), ':', visitParamExtractString(row, 'signing_id')),
        visitParamExtractString(row, 'team_id') != '', concat('team:', visitParamExtractString(row, 'team_id')),
        visitParamExtractString(row, 'signature') = 'apple' AND visitParamExtractString(row, 'signing_id') != '',
            concat('signing:', visitParamExtractString(row, 'signing_id')),
        visitParamExtractString(row, 'cdhash') != '', concat('cdhash:', visitParamExtractString(row, 'cdhash')),
        visitParamExtractString(row, 'path') != '', concat('path:', visitParamExtractString(row, 'path')),
        '') AS identity
SELECT
    toDate(toDateTime(visitParamExtractUInt(head, 'unixTime'))) AS day,
    toDateTime(visitParamExtractUInt(head, 'unixTime')) AS time,
    visitParamExtractString(head, 'hostIdentifier') AS host,
    visitParamExtractString(row, 'severity') AS severity,
    identity,
    visitParamExtractString(row, 'launchd_label') AS launchd_label,
    visitParamExtractString(row, 'path') AS path,
    visitParamExtractString(row, 'process_name') AS process_name,
    visitParamExtractString(row, 'signature') AS signature,
    visitParamExtractString(row, 'team_id') AS team_id,
    visitParamExtractString(row, 'cdhash') AS cdhash,
    visitParamExtractString(row, 'provider') AS provider,
    toUInt8OrZero(visitParamExtractString(row, 'protocol')) AS protocol,
    visitParamExtractString(row, 'remote_address') AS remote_address,
    toUInt16OrZero(visitParamExtractString(row, 'remote_port')) AS remote_port,
    visitParamExtractString(row, 'verdict') AS verdict,
    visitParamExtractString(row, 'why') AS why
FROM cipherlens.lines
WHERE match(query, '^an040[12][_/]detection$') AND visitParamExtractString(head, 'action') != 'removed' AND listed + alone > 0 AND size > 4;

CREATE MATERIALIZED VIEW IF NOT EXISTS cipherlens.to_contacts TO cipherlens.contacts AS
WITH
    replaceAll(replaceAll(line, '\\\\', '..'), '\\"', '..') AS mask,
    multiIf(position(mask, '"snapshot":[') > 0, position(mask, '"snapshot":[') + 11, position(mask, '"added":[') > 0, position(mask, '"added":[') + 8, 0) AS listed,
    position(mask, '"columns":{') AS alone,
    if(listed > 0, listed, alone + 10) AS at,
    if(listed = 0, position(substring(mask, at), '"}') + 1, if(substring(line, at, 2) = '[]', 2, position(substring(mask, at), '"}]') + 2)) AS size,
    concat(substring(line, 1, at - 1), substring(line, at + size)) AS head,
    if(listed > 0, substring(line, at + 3, size - 6), substring(line, at + 2, size - 4)) AS inside,
    concat('"', arrayJoin(splitByString('"},{"', inside)), '"') AS row,
    replaceRegexpOne(visitParamExtractString(head, 'name'), '^pack[_/](Global/|team-[0-9]+/)?', '') AS query,
    visitParamExtractString(row, 'exception_key') AS key,
    concat(' to ', visitParamExtractString(row, 'remote_address'), ' port ', visitParamExtractString(row, 'remote_port')) AS destination,
    multiIf(length(key) > length(destination) AND substring(key, length(key) - length(destination) + 1) = destination,
            substring(key, 1, length(key) - length(destination)),
        visitParamExtractString(row, 'team_id') != '' AND visitParamExtractString(row, 'signing_id') != '',
            concat('signing:', visitParamExtractString(row, 'team_id'), ':', visitParamExtractString(row, 'signing_id')),
        visitParamExtractString(row, 'team_id') != '', concat('team:', visitParamExtractString(row, 'team_id')),
        visitParamExtractString(row, 'signature') = 'apple' AND visitParamExtractString(row, 'signing_id') != '',
            concat('signing:', visitParamExtractString(row, 'signing_id')),
        visitParamExtractString(row, 'cdhash') != '', concat('cdhash:', visitParamExtractString(row, 'cdhash')),
        visitParamExtractString(row, 'path') != '', concat('path:', visitParamExtractString(row, 'path')),
        '') AS identity
SELECT
    toDate(toDateTime(visitParamExtractUInt(head, 'unixTime'))) AS day,
    identity,
    visitParamExtractString(row, 'remote_address') AS remote_address,
    toUInt16OrZero(visitParamExtractString(row, 'remote_port')) AS remote_port,
    toUInt8OrZero(visitParamExtractString(row, 'protocol')) AS protocol,
    visitParamExtractString(row, 'verdict') AS verdict,
    visitParamExtractString(head, 'hostIdentifier') AS host
FROM cipherlens.lines
WHERE visitParamExtractString(head, 'action') != 'removed' AND listed + alone > 0 AND size > 4 AND identity != '' AND destination != ' to  port '
    AND (position(row, '"exception_key":') > 0 OR position(row, '"cdhash":') > 0)
    AND visitParamExtractString(row, 'verdict') IN ('random', 'tls_mimic') AND visitParamExtractString(row, 'protocol') IN ('6', '17');

CREATE MATERIALIZED VIEW IF NOT EXISTS cipherlens.to_coverage TO cipherlens.coverage AS
WITH
    replaceAll(replaceAll(line, '\\\\', '..'), '\\"', '..') AS mask,
    multiIf(position(mask, '"snapshot":[') > 0, position(mask, '"snapshot":[') + 11, position(mask, '"added":[') > 0, position(mask, '"added":[') + 8, 0) AS listed,
    position(mask, '"columns":{') AS alone,
    if(listed > 0, listed, alone + 10) AS at,
    if(listed = 0, position(substring(mask, at), '"}') + 1, if(substring(line, at, 2) = '[]', 2, position(substring(mask, at), '"}]') + 2)) AS size,
    concat(substring(line, 1, at - 1), substring(line, at + size)) AS head,
    if(listed > 0, substring(line, at + 3, size - 6), substring(line, at + 2, size - 4)) AS inside,
    concat('"', arrayJoin(splitByString('"},{"', inside)), '"') AS row,
    replaceRegexpOne(visitParamExtractString(head, 'name'), '^pack[_/](Global/|team-[0-9]+/)?', '') AS query
SELECT
    toDate(toDateTime(visitParamExtractUInt(head, 'unixTime'))) AS day,
    toDateTime(visitParamExtractUInt(head, 'unixTime')) AS time,
    visitParamExtractString(head, 'hostIdentifier') AS host,
    visitParamExtractString(row, 'platform') AS platform,
    visitParamExtractString(row, 'essential') AS essential,
    visitParamExtractString(row, 'state') AS state,
    visitParamExtractString(row, 'blind') AS blind,
    visitParamExtractString(row, 'degraded') AS degraded,
    visitParamExtractString(row, 'extension_version') AS extension_version
FROM cipherlens.lines
WHERE match(query, '^an0402-coverage[_/]host$') AND visitParamExtractString(head, 'action') != 'removed' AND listed + alone > 0 AND size > 4;
