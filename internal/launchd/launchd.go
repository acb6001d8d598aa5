// Package launchd finds where launchd jobs are declared on a host, reads their property lists safely, and says which
// executable each job really runs.
package launchd

// Where a job is declared: the values of Job.Domain.
const (
	DomainSystem          = "system"           // a LaunchDaemons folder of the host
	DomainAgent           = "agent"            // a LaunchAgents folder of the host: every user's sessions
	DomainAngel           = "angel"            // LaunchAngels, macOS 26
	DomainUser            = "user"             // one user's ~/Library/LaunchAgents
	DomainApp             = "app"              // LaunchAgents or LaunchDaemons inside an application (SMAppService)
	DomainLoginItem       = "login_item"       // an application in another's Contents/Library/LoginItems, or one that BTM lists
	DomainXPC             = "xpc"              // an XPC service inside a bundle
	DomainExtension       = "extension"        // an app extension (appex)
	DomainSystemExtension = "system_extension" // a system extension inside an application
	DomainHelper          = "helper"           // a privileged helper tool with the property list embedded
)

// What an interpreter runs: the values of Job.PayloadKind.
const (
	PayloadMachO   = "mach-o"
	PayloadELF     = "elf"
	PayloadScript  = "script" // a file that is neither of the above: source, bytecode, an archive
	PayloadInline  = "inline" // the program is in the arguments
	PayloadModule  = "module" // PayloadPath is a name that the interpreter looks up itself
	PayloadBundle  = "bundle" // PayloadPath is an application's folder
	PayloadMissing = "missing"
)

// Job is one declared launchd job.
type Job struct {
	Label     string // empty where the property list has none or could not be read
	PlistPath string // on the analysed host; the executable itself for DomainHelper
	Domain    string // one of the domains above
	Username  string // whose home or UserName; empty: root for daemons, the session's user for agents

	Program string   // what launchd executes, as declared (Program, BundleProgram made absolute, or ProgramArguments[0])
	Args    []string // ProgramArguments

	// Executable is the Mach-O (or ELF) that really runs: Program with links resolved, or the payload of an interpreter where that
	// is itself an executable. For a script it is the interpreter. Empty when it cannot be known.
	Executable  string
	Interpreter string // path of what runs the payload (sh, python3, env, …): the innermost where they are nested
	PayloadPath string // what the interpreter runs; empty for inline
	PayloadKind string // one of the kinds above; empty without interpreter

	// Others are further executables that the command line, or the shell script, leads through or names, resolved and sorted: a program that
	// only calls itself env, the second command of sh -c. Stock tools in /bin, /usr/bin and the like are left out. At most 16.
	Others []string

	// ScriptCrypto are the words of the script's or inline text that hint at crypto (openssl, cccrypt, …), sorted: weak evidence.
	ScriptCrypto []string

	InsertLibraries []string // DYLD_INSERT_LIBRARIES of EnvironmentVariables and of env in the arguments, split at ':'

	RunAtLoad bool
	KeepAlive bool  // true, or a dictionary with conditions
	Enabled   bool  // after overrides (disabled.plist) and background task management; for agents: for at least one user
	Err       error // what could not be read; the rest is still valid
}
