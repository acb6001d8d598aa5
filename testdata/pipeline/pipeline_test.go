// Package pipeline takes result lines from a run of the pack the way that a logger and a security team's collector take them: through a Kafka broker,
// and into PostgreSQL.
//
// The broker is kfake: not Kafka, but a fake that speaks its real wire protocol (no package of a real one is to be had from Debian, npm or as a Go module).
// The producer is kcat where it is installed: librdkafka, which osquery's own Kafka logger is made of. PostgreSQL is the real one.
package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

const topic = "osquery-results"

// packRun runs the shipped pack on the demo's tree and capture, and gives the lines of both logs that osqueryd's filesystem logger would write.
func packRun(t *testing.T) [][]byte {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "run", "./extension", "run", "--pack", "packs/an0402.conf", "--root", "testdata/demo/root",
		"--capture", "testdata/demo/capture.pcapng", "--config", "testdata/demo/config.yaml", "--log-dir", dir, "--once")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var lines [][]byte
	for _, name := range []string{"osqueryd.results.log", "osqueryd.snapshots.log"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		for _, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
			require.True(t, json.Valid(line))
			lines = append(lines, line)
		}
	}
	require.Greater(t, len(lines), 3)
	return lines
}

// TestThroughKafkaIntoPostgres: every line arrives as it was, and the findings are found again by SQL.
func TestThroughKafkaIntoPostgres(t *testing.T) {
	lines := packRun(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, topic))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	produce(t, cluster.ListenAddrs(), lines)
	got := consume(t, cluster.ListenAddrs(), len(lines))
	require.ElementsMatch(t, texts(lines), texts(got), "byte for byte")

	db := startPostgres(t)
	db.run(t, "../../fleet/postgres/schema.sql")
	db.load(t, got)
	findings := db.query(t, "SELECT severity, launchd_label, remote_address, remote_port, verdict FROM cipherlens.findings ORDER BY launchd_label")
	require.Equal(t, []string{
		"high|com.apple.metadata.mdsync|203.0.113.7|8443|random",
		"high|com.northwind.telemetryd|198.51.100.23|443|random",
	}, findings)
	require.Contains(t, db.query(t, "SELECT name, state FROM cipherlens.coverage"), "capture|ok")
	require.Equal(t, []string{"1"}, db.query(t, "SELECT count(DISTINCT host) FROM cipherlens.rows"))
}

func texts(lines [][]byte) []string {
	list := make([]string, len(lines))
	for i, l := range lines {
		list[i] = string(l)
	}
	return list
}

// produce writes lines as osquery's Kafka logger does: the host as the key, so that a host's lines stay in order, and acknowledged by all replicas.
func produce(t *testing.T, brokers []string, lines [][]byte) {
	if kcat, err := exec.LookPath("kcat"); err == nil {
		cmd := exec.CommandContext(t.Context(), kcat, "-P", "-b", strings.Join(brokers, ","), "-t", topic, "-k", hostOf(t, lines[0]), "-X", "acks=all", "-X", "compression.codec=gzip")
		cmd.Stdin = bytes.NewReader(append(bytes.Join(lines, []byte("\n")), '\n'))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		t.Log("produced by kcat (librdkafka)")
		return
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(kgo.AllISRAcks()))
	require.NoError(t, err)
	defer client.Close()
	for _, line := range lines {
		require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Key: []byte(hostOf(t, line)), Value: line}).FirstErr())
	}
	t.Log("produced by franz-go: no kcat here")
}

func hostOf(t *testing.T, line []byte) string {
	var l struct {
		HostIdentifier string `json:"hostIdentifier"`
	}
	require.NoError(t, json.Unmarshal(line, &l))
	require.NotEmpty(t, l.HostIdentifier)
	return l.HostIdentifier
}

// consume reads n records as a member of a consumer group; all of one host come from one partition, in order.
func consume(t *testing.T, brokers []string, n int) [][]byte {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumerGroup("warehouse"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer client.Close()
	var lines [][]byte
	partitions := map[int32]bool{}
	for len(lines) < n {
		fetches := client.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			lines = append(lines, r.Value)
			partitions[r.Partition] = true
			require.Equal(t, hostOf(t, r.Value), string(r.Key))
		})
	}
	require.NoError(t, client.CommitUncommittedOffsets(ctx))
	require.Len(t, partitions, 1, "one host, one partition")
	return lines
}
