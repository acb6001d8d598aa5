-- description: Systemd units and other programs that run and can use symmetric crypto
-- attack: AN0401, DET0143, T1573.001
-- kind: inventory
-- platform: linux
-- interval: 86400
-- removed: true
-- false_positives: Capability is not use. This is the inventory to compare findings with. Libraries in trusted_crypto_libs do not count.
-- response: Look at new lines - what starts the program, whose package it is of, and whether it should encrypt anything by itself.
WITH running AS MATERIALIZED (
  SELECT DISTINCT launchd_label, path, uid, provider, linkage, library, symbols, identity
  FROM process_crypto_linkage
  WHERE class = 'symmetric' AND evidence = 'strong'
), units AS MATERIALIZED (
  SELECT id, fragment_path, unit_file_state, user FROM systemd_units
)
SELECT launchd_label AS systemd_unit, ifnull(fragment_path, '') AS unit_path, ifnull(unit_file_state, '') AS persistence, ifnull(user, '') AS unit_user, path, uid,
       provider, linkage, library, symbols, identity AS exception_key
FROM running LEFT JOIN units ON units.id = running.launchd_label
