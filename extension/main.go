// Command cipherlens.ext is Cipherlens: an osquery extension with the tables that find software which encrypts by itself and talks in
// random bytes, and the same tables, pack and detection for a capture file and a mounted volume.
package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func main() {
	confinable = true
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

// errReported is an error that was printed already, where it happened.
var errReported = errors.New("reported")

// execute runs one command line and gives its exit status.
func execute(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errReported) {
		complain(stderr, err)
	}
	return 1
}

func newRootCommand() *cobra.Command {
	var o serveOptions
	var timeout, interval uint
	root := &cobra.Command{
		Use:   "cipherlens.ext",
		Short: "Find software that encrypts by itself and talks in random bytes",
		Long: `cipherlens.ext is an osquery extension: osqueryd starts it with --socket, --timeout and --interval.
Without osquery, its commands look at capture files, at a mounted macOS volume, and at this host.`,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.socket == "" {
				return cmd.Help()
			}
			o.timeout, o.interval = time.Duration(timeout)*time.Second, time.Duration(interval)*time.Second
			return serveHost(cmd.Context(), o, newLogger(cmd.ErrOrStderr(), slog.LevelInfo, o.verbose))
		},
	}
	f := root.Flags()
	f.StringVar(&o.socket, "socket", "", "osquery's extension socket; makes this process its extension")
	f.UintVar(&timeout, "timeout", 3, "seconds to wait for osquery")
	f.UintVar(&interval, "interval", 3, "seconds between pings to osquery")
	f.BoolVar(&o.verbose, "verbose", false, "log more")
	f.StringVar(&o.state, "state", "", "file that keeps alerts over a restart, or none (default: the setting state_file)")
	root.CompletionOptions.HiddenDefaultCmd = true
	for _, command := range commands {
		root.AddCommand(command())
	}
	return root
}

// commands make the subcommands.
var commands = []func() *cobra.Command{
	newSpecCommand, newAttachCommand, newDoctorCommand,
	newRunCommand, newQueryCommand, newFlowsCommand, newReportCommand, newVersionCommand,
	newAllowlistCommand, newBaselineCommand,
}

// newLogger logs from level on, or everything.
func newLogger(w io.Writer, level slog.Level, verbose bool) *slog.Logger {
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
