package allowlist

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Format writes a rule as an item of a rule file's list, which Parse reads back. What is empty is left out.
func Format(r *Rule) string {
	var b strings.Builder
	lead := "  - "
	line := func(key, value string) {
		fmt.Fprintf(&b, "%s%s: %s\n", lead, key, value)
		lead = "    "
	}
	text := func(key, value string) {
		if value != "" {
			line(key, scalar(value))
		}
	}
	list := func(key string, values []string) {
		if len(values) > 0 {
			items := make([]string, len(values))
			for i, v := range values {
				items[i] = scalar(v)
			}
			line(key, "["+strings.Join(items, ", ")+"]")
		}
	}
	text("name", r.Name)
	text("team_id", r.TeamID)
	text("signing_id", r.SigningID)
	text("cdhash", r.CDHash)
	text("path", r.Path)
	list("verdicts", r.Verdicts)
	list("app_protocols", r.AppProtocols)
	list("networks", r.Networks)
	list("host_suffixes", r.HostSuffixes)
	if len(r.Ports) > 0 {
		line("ports", strings.ReplaceAll(fmt.Sprint(r.Ports), " ", ", "))
	}
	text("approved_by", r.ApprovedBy)
	text("reason", r.Reason)
	text("reference", r.Reference)
	text("expires", r.Expires)
	return b.String()
}

// scalar writes a text plainly where that is safe, else as JSON's string, which YAML reads alike.
func scalar(s string) string {
	var same string
	if word(s, &same) && strings.TrimSpace(s) == s {
		return s
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(quoted)
}
