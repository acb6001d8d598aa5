-- Shards are by host: every line of one host goes to one shard, so that a shard counts its own hosts and no two shards count the same one. schema.sql is
-- run on every shard; this file on the servers that are asked, where "fleet" is the cluster's name in <remote_servers>.
--
-- Lines are inserted into cipherlens_all.lines, queries ask cipherlens_all.* instead of cipherlens.*. Hosts add up over shards; days, identities and
-- destinations are merged as sets, which a Distributed table does by itself.

CREATE DATABASE IF NOT EXISTS cipherlens_all;

CREATE TABLE IF NOT EXISTS cipherlens_all.lines (line String)
ENGINE = Distributed(fleet, 'cipherlens', lines, cityHash64(visitParamExtractString(line, 'hostIdentifier')));

CREATE TABLE IF NOT EXISTS cipherlens_all.findings AS cipherlens.findings ENGINE = Distributed(fleet, 'cipherlens', findings, cityHash64(host));

CREATE TABLE IF NOT EXISTS cipherlens_all.contacts AS cipherlens.contacts ENGINE = Distributed(fleet, 'cipherlens', contacts, cityHash64(host));

CREATE TABLE IF NOT EXISTS cipherlens_all.coverage AS cipherlens.coverage ENGINE = Distributed(fleet, 'cipherlens', coverage, cityHash64(host));
