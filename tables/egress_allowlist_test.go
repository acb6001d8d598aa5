package tables

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/allowlist"
)

func TestAllowlistRowsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var rules []*allowlist.Rule
	for i := range maxRuleRows + 7 {
		rules = append(rules, &allowlist.Rule{Name: fmt.Sprint(i), Path: "/usr/bin/a", ApprovedBy: "a"})
	}
	rules[maxRuleRows+3].ApprovedBy = ""
	rules[maxRuleRows+5].Count(now)
	rows := allowlistRows(rules, []error{errors.New("as told")}, now)
	require.Len(t, rows, maxRuleRows+2)
	require.Equal(t, []string{fmt.Sprint(maxRuleRows + 3), fmt.Sprint(maxRuleRows + 5), "0"}, []string{rows[0]["name"], rows[1]["name"], rows[2]["name"]})
	require.Contains(t, rows[0]["weakness"], "nobody has approved it")
	require.Equal(t, "as told", rows[maxRuleRows]["error"])
	require.Equal(t, "7 more rules are in force and not listed", rows[maxRuleRows+1]["error"])
	require.Equal(t, "1", rows[1]["matches"])

	few := allowlistRows(rules[1:3], nil, now)
	require.Len(t, few, 2)
	require.NotContains(t, few[0]["error"], "more")
}
