-- description: Blind spots as they open and close
-- attack: AN0402, DET0143, T1573.001
-- kind: evidence
-- platform: darwin,linux
-- interval: 900
-- removed: true
-- false_positives: late_start is degraded for the first minutes after every start of osquery.
-- response: A line that is added is a blind spot that opened, one that is removed a blind spot that closed. Do what advice says.
SELECT name, state, advice, name || ':' || state AS exception_key FROM cipherlens_coverage WHERE state <> 'ok'
