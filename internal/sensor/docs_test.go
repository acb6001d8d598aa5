package sensor

import (
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/process"
)

// TestEveryRowIsExplained: docs/sensor.md has each row of the coverage, and no other.
func TestEveryRowIsExplained(t *testing.T) {
	t.Parallel()
	h := newHost(t, "", "")
	h.unjudged.Store(1)
	s := newSensor(t, Options{Own: func() []Coverage { return []Coverage{{Name: "privileges"}, {Name: "socket"}} }})
	rows := append(h.coverage(), s.Coverage(t.Context())...)
	rows = append(rows, diskCoverage(nil), responsibleCoverage(process.ResponsibleStats{}), s.rowCoverage())
	there := map[string]bool{}
	for _, row := range rows {
		there[row.Name] = true
	}
	text, err := os.ReadFile("../../docs/sensor.md")
	require.NoError(t, err)
	section := regexp.MustCompile(`(?s)\n## Rows of cipherlens_coverage\n(.*?)\n## `).FindStringSubmatch(string(text))
	require.Len(t, section, 2)
	explained := map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^\| ((?:`+"`[a-z_]+`(?:, )?"+`)+) \|`).FindAllStringSubmatch(section[1], -1) {
		for _, name := range regexp.MustCompile(`[a-z_]+`).FindAllString(line[1], -1) {
			explained[name] = true
		}
	}
	require.Equal(t, there, explained)
}
