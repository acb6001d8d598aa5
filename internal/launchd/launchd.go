// Package launchd finds where launchd jobs are declared on a host, reads their property lists safely, and says which
// executable each job really runs.
package launchd

// Job is one declared launchd job.
type Job struct {
	Label     string
	PlistPath string // on the analysed host
	Domain    string // system, agent (every user's sessions), user (one user's), app (embedded in an application), xpc, login_item, …
	Username  string // whose home or UserName; empty: root for daemons, the session's user for agents

	Program string   // what launchd executes, as declared (Program, BundleProgram made absolute, or ProgramArguments[0])
	Args    []string // ProgramArguments

	// Executable is the Mach-O (or ELF) that really runs: Program with links resolved, or the payload of an interpreter where that
	// is itself an executable. Empty when it cannot be known.
	Executable  string
	Interpreter string // the interpreter's path when Program is one (sh, env, python3, …)
	PayloadPath string // what the interpreter runs
	PayloadKind string // mach-o, elf, script, inline, bundle, missing; empty without interpreter

	InsertLibraries []string // EnvironmentVariables DYLD_INSERT_LIBRARIES, split at ':'

	RunAtLoad bool
	KeepAlive bool  // true, or a dictionary with conditions
	Enabled   bool  // after overrides (disabled.plist)
	Err       error // what could not be read; the rest is still valid
}
