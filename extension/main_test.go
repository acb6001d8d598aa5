package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"github.com/cipherlens/cipherlens/internal/config"
	"github.com/cipherlens/cipherlens/internal/sqlhost"
	"github.com/cipherlens/cipherlens/tables"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"cipherlens.ext":  main,
		"panicking.ext":   func() { os.Exit(panicking(os.Args[1:])) },
		"replaying.ext":   func() { os.Exit(replaying(os.Args[1:])) },
		"implant.ext":     func() { exit(implant()) },
		"namespace.ext":   func() { exit(inNamespace(os.Args[1])) },
		"restarted.ext":   func() { exit(restarted(os.Args[1])) },
		"initialised.ext": func() { os.Exit(initialised(os.Args[1:])) },
	})
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// initialised is the extension, and says at its end how often SQLite was started in it.
func initialised(args []string) int {
	status := execute(args, os.Stdout, os.Stderr)
	fmt.Println("SQLite connections opened:", sqlhost.Opened())
	return status
}

// panicking is the extension with one more table, which panics.
func panicking(args []string) int {
	root := newRootCommand()
	log := newLogger(os.Stderr, slog.LevelInfo, true)
	b, err := newBench(benchOptions{root: "/", settings: config.NewStore(config.Path()), log: log})
	if err != nil {
		return 3
	}
	defer b.Close()
	bad := tables.CipherlensCoverage(nil)
	bad.Name = "panics"
	bad.Rows = func(context.Context, tables.Query) ([]tables.Row, error) { panic("as told") }
	b.plugins = append(b.plugins, tables.Plugins(log, bad)[0])
	if err := root.ParseFlags(args); err != nil {
		return 3
	}
	socket, _ := root.Flags().GetString("socket")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, serveOptions{socket: socket}, b, log); err != nil {
		log.Error("serve", "error", err)
		return 1
	}
	return 0
}

func TestScripts(t *testing.T) {
	t.Parallel()
	demo, err := filepath.Abs("../testdata/demo")
	require.NoError(t, err)
	packs, err := filepath.Abs("../packs")
	require.NoError(t, err)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("DEMO", demo)
			e.Setenv("PACKS", packs)
			e.Setenv("CIPHERLENS_CONFIG", filepath.Join(e.WorkDir, "none.yaml"))
			return nil
		},
	})
}
