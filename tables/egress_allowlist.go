package tables

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/cipherlens/cipherlens/internal/allowlist"
	"github.com/osquery/osquery-go/plugin/table"
)

// Rules gives the allowlist in force and what is wrong with its sources.
type Rules interface {
	Rules() (rules []*allowlist.Rule, problems []error)
}

// CryptoEgressAllowlist is the table of allowlist rules.
func CryptoEgressAllowlist(source Rules) Definition {
	return Definition{
		Name:        "crypto_egress_allowlist",
		Description: "One allowlist rule: who may talk how to where, approved by whom, why, until when, how often it matched. A rule that could not be read is a row with error. At most 10,000 rules are listed, those with a weakness first.",
		Examples:    []string{"SELECT name, source, weakness FROM crypto_egress_allowlist WHERE weakness <> '' OR matches = 0"},
		Columns: []table.ColumnDefinition{
			text("name", "Name of the rule"),
			text("source", "File and line, or the setting it comes from"),
			text("team_id", "Team that must be proven"),
			text("signing_id", "Signing identifier that must be proven; without team_id Apple's"),
			text("cdhash", "Code directory hash that must be proven"),
			text("path", "Path of the executable"),
			text("verdicts", "Verdicts that it covers, comma-separated; empty: all"),
			text("app_protocols", "Protocols that it covers; empty: all"),
			text("networks", "Networks that it covers; empty: all"),
			text("host_suffixes", "Server names that it covers; empty: all"),
			text("ports", "Remote ports that it covers; empty: all"),
			text("approved_by", "Who approved it"),
			text("reason", "Why"),
			text("reference", "Where the identity is published"),
			text("expires", "Last day on which it holds (UTC); empty: never"),
			integer("expired", "1 when that day is over"),
			text("weakness", "What makes the rule worth a second look: expired, never matches, names only a path that users can write to, approved by nobody, unused for 30 days"),
			bigint("matches", "Flows covered since the rule was loaded"),
			bigint("last_match", "When last, unix seconds; NULL: never"),
			text("error", "What is wrong with a rule or file that was left out"),
		},
		Rows: func(_ context.Context, _ Query) ([]Row, error) {
			rules, problems := source.Rules()
			return allowlistRows(rules, problems, time.Now()), nil
		},
	}
}

// maxRuleRows bounds the rows of crypto_egress_allowlist: 100,000 rules as rows would take more memory than all else here together.
const maxRuleRows = 10_000

// allowlistRows lists rules in their order, and what is wrong with their sources. Of too many rules those come first that have a weakness, then those that
// have matched, and the rest is counted in one more row.
func allowlistRows(rules []*allowlist.Rule, problems []error, now time.Time) []Row {
	if left := len(rules) - maxRuleRows; left > 0 {
		rank := func(r *allowlist.Rule) int {
			count, _ := r.Matches()
			switch {
			case r.Weakness(now) != "":
				return 0
			case count > 0:
				return 1
			}
			return 2
		}
		ranks := make(map[*allowlist.Rule]int, len(rules))
		for _, r := range rules {
			ranks[r] = rank(r)
		}
		slices.SortStableFunc(rules, func(a, b *allowlist.Rule) int { return ranks[a] - ranks[b] })
		rules = rules[:maxRuleRows]
		problems = append(slices.Clone(problems), fmt.Errorf("%d more rules are in force and not listed", left))
	}
	rows := make([]Row, 0, len(rules)+len(problems))
	for _, rule := range rules {
		rows = append(rows, ruleRow(rule, now))
	}
	for _, err := range problems {
		r := Row{}
		r.Errors(err)
		rows = append(rows, r)
	}
	return rows
}

func ruleRow(rule *allowlist.Rule, now time.Time) Row {
	r := Row{}
	r.Text("name", rule.Name)
	r.Text("source", rule.Source)
	r.Text("team_id", rule.TeamID)
	r.Text("signing_id", rule.SigningID)
	r.Text("cdhash", rule.CDHash)
	r.Text("path", rule.Path)
	r.List("verdicts", rule.Verdicts)
	r.List("app_protocols", rule.AppProtocols)
	r.List("networks", rule.Networks)
	r.List("host_suffixes", rule.HostSuffixes)
	ports := make([]string, len(rule.Ports))
	for i, p := range rule.Ports {
		ports[i] = strconv.Itoa(int(p))
	}
	r.List("ports", ports)
	r.Text("approved_by", rule.ApprovedBy)
	r.Text("reason", rule.Reason)
	r.Text("reference", rule.Reference)
	r.Text("expires", rule.Expires)
	r.Bool("expired", rule.Expired(now))
	r.Text("weakness", rule.Weakness(now))
	matches, last := rule.Matches()
	r.Int("matches", int64(matches))
	if last > 0 {
		r.Int("last_match", last)
	}
	r.Errors()
	return r
}
