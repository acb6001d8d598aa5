package warehouse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server is a ClickHouse of the test's own: own folder, own configuration, loopback only, ended by its process id.
type server struct {
	t   *testing.T
	url string
}

const serverConfig = `<?xml version="1.0"?>
<yandex>
  <logger><level>warning</level><log>%[1]s/server.log</log><errorlog>%[1]s/server.err.log</errorlog></logger>
  <http_port>%[2]d</http_port><tcp_port>%[3]d</tcp_port>
  <listen_host>127.0.0.1</listen_host>
  <path>%[1]s/data/</path><tmp_path>%[1]s/tmp/</tmp_path><user_files_path>%[1]s/files/</user_files_path>
  <mark_cache_size>268435456</mark_cache_size><max_concurrent_queries>20</max_concurrent_queries><timezone>UTC</timezone>
  <users_config>users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>
  <remote_servers><fleet>
    <shard><replica><default_database>cipherlens_1</default_database><host>127.0.0.1</host><port>%[3]d</port></replica></shard>
    <shard><replica><default_database>cipherlens_2</default_database><host>127.0.0.1</host><port>%[3]d</port></replica></shard>
  </fleet></remote_servers>
</yandex>
`

const usersConfig = `<?xml version="1.0"?>
<yandex>
  <profiles><default><max_memory_usage>4000000000</max_memory_usage><max_threads>2</max_threads><insert_distributed_sync>1</insert_distributed_sync></default></profiles>
  <users><default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></default></users>
  <quotas><default><interval><duration>3600</duration><queries>0</queries><errors>0</errors><result_rows>0</result_rows><read_rows>0</read_rows><execution_time>0</execution_time></interval></default></quotas>
</yandex>
`

// startServer starts ClickHouse, or skips the test where there is none.
func startServer(t *testing.T) *server {
	binary := ""
	for _, name := range []string{"clickhouse-server", "/usr/sbin/clickhouse-server"} {
		if path, err := exec.LookPath(name); err == nil {
			binary = path
			break
		}
	}
	if binary == "" {
		t.Skip("no clickhouse-server (Debian: apt-get install clickhouse-server)")
	}
	dir := t.TempDir()
	ports := freePorts(t, 2)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "data"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.xml"), fmt.Appendf(nil, serverConfig, dir, ports[0], ports[1]), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "users.xml"), []byte(usersConfig), 0o600))
	cmd := exec.Command(binary, "--config-file="+filepath.Join(dir, "config.xml"))
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections() // it waits for open connections
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Log(out.String())
		}
	})
	s := &server{t, fmt.Sprintf("http://127.0.0.1:%d/", ports[0])}
	require.Eventually(t, func() bool { _, err := s.post("SELECT 1", nil); return err == nil }, 30*time.Second, 100*time.Millisecond)
	version, err := s.post("SELECT version()", nil)
	require.NoError(t, err)
	t.Logf("ClickHouse %s", strings.TrimSpace(string(version)))
	return s
}

// freePorts finds ports of loopback that nobody listens on.
func freePorts(t *testing.T, n int) []int {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// post runs one statement; data follows an INSERT.
func (s *server) post(sql string, data io.Reader) ([]byte, error) {
	body := io.Reader(strings.NewReader(sql))
	if data != nil {
		body = io.MultiReader(strings.NewReader(sql+"\n"), data)
	}
	response, err := http.Post(s.url, "text/plain", body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	out, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%.500s", out)
	}
	return out, err
}

// run runs the statements of one file.
func (s *server) run(file string) {
	s.runText(read(s.t, file))
}

func (s *server) runText(text string) {
	for _, statement := range strings.Split(comments.ReplaceAllString(text, ""), ";") {
		if strings.TrimSpace(statement) != "" {
			_, err := s.post(statement, nil)
			require.NoError(s.t, err, statement)
		}
	}
}

var comments = regexp.MustCompile(`(?m)^--.*$`)

func read(t *testing.T, file string) string {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(data)
}

// answer is what a query gives, and what it cost.
type answer struct {
	Data       []map[string]any `json:"data"`
	Statistics struct {
		Elapsed   float64 `json:"elapsed"` // seconds
		RowsRead  uint64  `json:"rows_read"`
		BytesRead uint64  `json:"bytes_read"`
	} `json:"statistics"`
}

// ask runs the query of one file.
func (s *server) ask(file string) answer { return s.askText(read(s.t, file)) }

func (s *server) askText(sql string) answer {
	out, err := s.post(comments.ReplaceAllString(sql, "")+" FORMAT JSON", nil)
	require.NoError(s.t, err, sql)
	var a answer
	require.NoError(s.t, json.Unmarshal(out, &a), "%s", out)
	return a
}

// load puts lines of the result log into a table as ClickHouse's TabSeparated format has them.
func (s *server) load(table string, lines io.Reader) {
	_, err := s.post("INSERT INTO "+table+" FORMAT TabSeparated", lines)
	require.NoError(s.t, err)
}

// escape makes a line a value of TabSeparated.
func escape(line []byte) []byte {
	return bytes.ReplaceAll(line, []byte(`\`), []byte(`\\`))
}
