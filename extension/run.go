package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cipherlens/cipherlens/internal/sqlhost"
)

type runOptions struct {
	subject
	packs    []string
	logDir   string
	once     bool
	runFor   time.Duration
	interval time.Duration
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run --pack FILE [--root DIR] [--capture FILE]... [--log-dir DIR] [--once | --for 60s]",
		Short: "Run query packs without osqueryd",
		Long: `Run query packs as osqueryd would, print the findings, and with --log-dir write osqueryd.results.log and osqueryd.snapshots.log as osqueryd's filesystem logger does.
It ends when the captures are read to their end or --for has passed, each query having run once more; without either it runs until it is interrupted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd)
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&o.packs, "pack", nil, "osquery pack file (may be given more than once)")
	f.StringVar(&o.logDir, "log-dir", "", "folder for osqueryd.results.log and osqueryd.snapshots.log")
	f.BoolVar(&o.once, "once", false, "run every query once (after the captures, if there are any) and end")
	f.DurationVar(&o.runFor, "for", 0, "end after this time")
	f.DurationVar(&o.interval, "interval", 0, "overrides the queries' intervals, whole seconds")
	cmd.MarkFlagsMutuallyExclusive("once", "for")
	_ = cmd.MarkFlagRequired("pack")
	return cmd
}

func (o *runOptions) run(ctx context.Context, cmd *cobra.Command) error {
	packs, err := o.readPacks()
	if err != nil {
		return err
	}
	logger, err := newFindings(cmd.OutOrStdout(), cmd.ErrOrStderr(), o.logDir)
	if err != nil {
		return err
	}
	if o.logDir != "" {
		o.writes = append(o.writes, o.logDir)
	}
	n, err := o.open(ctx, cmd)
	if err != nil {
		return errors.Join(err, logger.close())
	}
	err = o.runPacks(ctx, n, packs, logger)
	if err == nil && logger.failures > 0 {
		err = fmt.Errorf("run: %d executions of queries failed", logger.failures)
	}
	return errors.Join(err, n.close(), logger.close())
}

func (o *runOptions) readPacks() ([]*sqlhost.Pack, error) {
	var packs []*sqlhost.Pack
	for _, file := range o.packs {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("pack: %w", err)
		}
		pack, err := sqlhost.ParsePack(strings.TrimSuffix(filepath.Base(file), ".conf"), data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		packs = append(packs, pack)
	}
	return packs, nil
}

// runPacks runs packs beside each other; an interrupt is a normal end.
func (o *runOptions) runPacks(ctx context.Context, n *session, packs []*sqlhost.Pack, logger *findings) error {
	options := sqlhost.RunOptions{Once: o.once, For: o.runFor, Interval: o.interval}
	if o.once {
		if err := n.drained(ctx, o.captures, 0); err != nil {
			return err
		}
	} else if len(o.captures) > 0 {
		options.Drained = n.sensor.Drained()
	}
	results := make(chan error, len(packs))
	for _, pack := range packs {
		go func() {
			report, err := n.host.RunPack(ctx, pack, options, logger)
			if report.Skipped != "" {
				logger.say(fmt.Sprintf("pack %s is skipped: %s", pack.Name, report.Skipped))
			}
			results <- err
		}()
	}
	var err error
	for range packs {
		err = errors.Join(err, <-results)
	}
	if ctx.Err() != nil {
		return nil
	}
	logger.summary()
	return err
}
