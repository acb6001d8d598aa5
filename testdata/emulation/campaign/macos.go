package main

import (
	"context"
	"fmt"
	"strings"
)

// A macRow is what the pack made of one implant's job, executable and flow.
type macRow struct {
	Name, Severity, Job, Signature, API, Flow, Verdict string
}

func (c *campaign) mac(context.Context) error { return nil }

func (c *campaign) macSection(b *strings.Builder) { fmt.Fprintln(b) }
