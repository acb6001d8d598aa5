package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// enrollSecret is the console's.
const enrollSecret = "open sesame"

// console is a server of osquery's remote API (osquery's docs, deployment/remote.md) over HTTPS with a certificate of its own: enroll, config, log,
// distributed read and write.
type console struct {
	address  string // 127.0.0.1:port
	certFile string // PEM
	t        *testing.T

	mu       sync.Mutex
	nodes    map[string]string // node key to host identifier
	config   json.RawMessage
	fetched  []json.RawMessage // configurations that were fetched
	results  []json.RawMessage // lines of the result log
	statuses []json.RawMessage // lines of the status log
	pending  map[string]string // live queries that no node has fetched
	answers  map[string]chan answerOf
	queries  int
}

// answerOf is what one node says to one live query.
type answerOf struct {
	rows    []map[string]string
	status  int
	message string
}

func newConsole(t *testing.T, config string) *console {
	c := &console{t: t, nodes: map[string]string{}, config: json.RawMessage(config), pending: map[string]string{}, answers: map[string]chan answerOf{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/osquery/enroll", c.enroll)
	mux.HandleFunc("POST /api/osquery/config", forNode(c, c.serveConfig))
	mux.HandleFunc("POST /api/osquery/log", forNode(c, c.takeLog))
	mux.HandleFunc("POST /api/osquery/distributed/read", forNode(c, c.readQueries))
	mux.HandleFunc("POST /api/osquery/distributed/write", forNode(c, c.writeResults))
	certificate, pemText := selfSigned(t)
	c.certFile = filepath.Join(t.TempDir(), "console.pem")
	require.NoError(t, os.WriteFile(c.certFile, pemText, 0o600))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	c.address = listener.Addr().String()
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	return c
}

// selfSigned makes a certificate for 127.0.0.1.
func selfSigned(t *testing.T) (tls.Certificate, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// fromNode is what every request after the enrolment has.
type fromNode struct {
	NodeKey  string                     `json:"node_key"`
	LogType  string                     `json:"log_type"`
	Data     []json.RawMessage          `json:"data"`
	Queries  map[string]json.RawMessage `json:"queries"`  // rows; of a query that failed perhaps an empty string
	Statuses map[string]json.RawMessage `json:"statuses"` // osqueryd writes numbers, older ones strings
	Messages map[string]string          `json:"messages"`
}

// forNode answers only nodes that have enrolled.
func forNode(c *console, f func(fromNode) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in fromNode
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		_, known := c.nodes[in.NodeKey]
		var out any = map[string]any{"node_invalid": true}
		if known {
			out = f(in)
		}
		c.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out)
	}
}

func (c *console) enroll(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Secret     string `json:"enroll_secret"`
		Identifier string `json:"host_identifier"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Secret != enrollSecret {
		_ = json.NewEncoder(w).Encode(map[string]any{"node_invalid": true})
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := "node-" + strconv.Itoa(len(c.nodes)+1)
	c.nodes[key] = in.Identifier
	_ = json.NewEncoder(w).Encode(map[string]any{"node_key": key, "node_invalid": false})
}

func (c *console) serveConfig(fromNode) any {
	c.fetched = append(c.fetched, c.config)
	return c.config
}

func (c *console) takeLog(in fromNode) any {
	if in.LogType == "result" {
		c.results = append(c.results, in.Data...)
	} else {
		c.statuses = append(c.statuses, in.Data...)
	}
	return map[string]any{"node_invalid": false}
}

func (c *console) readQueries(fromNode) any {
	queries := c.pending
	c.pending = map[string]string{}
	return map[string]any{"queries": queries, "node_invalid": false}
}

func (c *console) writeResults(in fromNode) any {
	for id, status := range in.Statuses {
		if answer := c.answers[id]; answer != nil {
			delete(c.answers, id)
			n, _ := strconv.Atoi(strings.Trim(string(status), `"`))
			var rows []map[string]string
			if json.Unmarshal(in.Queries[id], &rows) != nil {
				rows = nil
			}
			answer <- answerOf{rows, n, in.Messages[id]}
		}
	}
	return map[string]any{"node_invalid": false}
}

// ask runs a live query on the one host that there is.
func (c *console) ask(ctx context.Context, sql string) answerOf {
	c.mu.Lock()
	c.queries++
	id := "live_" + strconv.Itoa(c.queries)
	answer := make(chan answerOf, 1)
	c.pending[id], c.answers[id] = sql, answer
	c.mu.Unlock()
	select {
	case a := <-answer:
		return a
	case <-ctx.Done():
		return answerOf{status: -1, message: ctx.Err().Error()}
	}
}

// configure gives hosts another configuration from their next refresh on.
func (c *console) configure(config string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config = json.RawMessage(config)
}

// forget makes every node unknown, as a console does that lost its database.
func (c *console) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = map[string]string{}
}

// resultLines gives the lines of the result log so far.
func (c *console) resultLines() []resultLine {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := make([]resultLine, len(c.results))
	for i, raw := range c.results {
		require.NoError(c.t, json.Unmarshal(raw, &lines[i]), "%s", raw)
	}
	return lines
}

// resultLine is one line of osquery's result log.
type resultLine struct {
	Name           string              `json:"name"`
	HostIdentifier string              `json:"hostIdentifier"`
	UnixTime       int64               `json:"unixTime"`
	Action         string              `json:"action"`
	Columns        map[string]string   `json:"columns"`
	Snapshot       []map[string]string `json:"snapshot"`
}
