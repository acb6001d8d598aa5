-- description: Launchd jobs whose executable can use symmetric crypto, without those signed by Apple
-- attack: AN0402, DET0143, T1573.001
-- kind: inventory
-- platform: darwin
-- interval: 86400
-- removed: true
-- false_positives: Capability is not use. Most of these jobs are benign, and this is the inventory to compare findings with.
-- response: Look at new lines - who installed the job, who signed it, and whether it should encrypt anything by itself.
SELECT label, plist_path, path, domain, username, interpreter, payload_path, payload_kind, run_at_load, keep_alive, enabled,
       provider, evidence, linkage, library, symbols, image_path, signature, signing_id, team_id, claimed_team_id,
       -- No hash, so that an update of the program does not rewrite the inventory.
       CASE WHEN identity LIKE 'cdhash:%' THEN 'path:' || path ELSE identity END AS exception_key
FROM launchd_crypto_linkage
WHERE class = 'symmetric' AND signature <> 'apple'
