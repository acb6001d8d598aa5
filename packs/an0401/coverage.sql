-- description: What this host can and cannot see
-- attack: AN0401, DET0143, T1573.001
-- kind: evidence
-- platform: linux
-- interval: 3600
-- snapshot: true
-- false_positives: None. A row that is not ok is a blind spot.
-- response: Do what advice says, or accept the blind spot knowingly, by its exception_key where logs are read.
SELECT name, state, detail, advice, count, name || ':' || state AS exception_key FROM cipherlens_coverage
