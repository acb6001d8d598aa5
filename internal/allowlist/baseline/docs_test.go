package baseline

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
	"github.com/stretchr/testify/require"
)

// TestDocumentedIdentity asks SQLite for the identity as docs/allowlists.md defines it in SQL, for rows of all kinds.
func TestDocumentedIdentity(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../../docs/allowlists.md")
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(data), "```sql\n")
	require.True(t, ok)
	definition, _, ok := strings.Cut(text, "```")
	require.True(t, ok)
	db, err := sqlite3.Open(":memory:")
	require.NoError(t, err)
	defer db.Close()

	choices := [][]string{
		{"", "K to 192.0.2.1 port 443", "path:/a to b to 192.0.2.1 port 443", " to 192.0.2.1 port 443", "cdhash:aa port 443", "K to 192.0.2.1 port 4430"},
		{"", "TEAM123456"}, {"", "com.x"}, {"", "apple", "adhoc"}, {"", "aa"}, {"", "/x"},
	}
	rows := 0
	for i := range 6 * 2 * 2 * 3 * 2 * 2 {
		var v [6]string
		for k, list := range choices {
			v[k] = list[i%len(list)]
			i /= len(list)
		}
		query := fmt.Sprintf("SELECT %s FROM (SELECT '%s' AS exception_key, '%s' AS team_id, '%s' AS signing_id, '%s' AS signature, '%s' AS cdhash, '%s' AS path, '192.0.2.1' AS remote_address, '443' AS remote_port)",
			definition, v[0], v[1], v[2], v[3], v[4], v[5])
		stmt, _, err := db.Prepare(query)
		require.NoError(t, err, query)
		require.True(t, stmt.Step())
		want := stmt.ColumnText(0)
		require.NoError(t, stmt.Close())
		got := identityOf(&columns{key: []byte(v[0]), team: []byte(v[1]), signing: []byte(v[2]), signature: []byte(v[3]), cdhash: []byte(v[4]), path: []byte(v[5]),
			address: []byte("192.0.2.1"), port: []byte("443")})
		require.Equal(t, want, string(got), "%q", v)
		rows++
	}
	require.Equal(t, 288, rows)
}
