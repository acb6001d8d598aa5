-- description: What this host can and cannot see
-- attack: AN0402, DET0143, T1573.001
-- platform: darwin,linux
-- interval: 3600
-- snapshot: true
-- false_positives: None: a row that is not ok is a blind spot.
-- response: Do what advice says, or accept the blind spot knowingly.
SELECT name, state, detail, advice, count FROM cipherlens_coverage
