package launchd

import (
	"os"
	osexec "os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// interpreterTree has the programs that the command lines below name.
func interpreterTree(t testing.TB) *tree {
	tr := newTree(t)
	for _, name := range []string{"/bin/sh", "/bin/bash", "/bin/zsh", "/bin/sleep", "/usr/bin/env", "/usr/bin/python3", "/usr/bin/perl", "/usr/bin/ruby",
		"/usr/bin/nohup", "/usr/bin/nice", "/usr/bin/caffeinate", "/usr/bin/sudo", "/usr/bin/su", "/usr/bin/login", "/usr/bin/arch",
		"/usr/bin/xcrun", "/usr/bin/open", "/usr/bin/osascript", "/usr/bin/java", "/usr/bin/curl", "/usr/bin/expect", "/usr/bin/tclsh8.5",
		"/usr/local/bin/node", "/usr/local/bin/deno", "/usr/local/bin/php", "/usr/local/bin/bun", "/usr/local/bin/lua5.4",
		"/opt/agent", "/Applications/Chat.app/Contents/MacOS/Chat", "/opt/vm"} {
		tr.write(name, machO)
	}
	tr.link("../../usr/bin/python3", "/opt/bin/interp")
	tr.write("/opt/run.sh", "#!/bin/sh\nexec something\n")
	tr.write("/opt/run.py", "#!/usr/bin/env -S python3 -u\nfrom Crypto.Cipher import AES\n")
	tr.write("/opt/odd", "#! /opt/vm --fast\n")
	tr.write("/opt/loop", "#!/opt/loop\n")
	tr.write("/opt/plain.py", "import ctypes\nctypes.CDLL('/usr/lib/libSystem.B.dylib').CCCrypt()\n")
	tr.write("/opt/Main.class", "\xca\xfe\xba\xbe\x00\x00\x00\x41 class file")
	tr.write("/Applications/Chat.app/Contents/Info.plist", xmlPlist("<key>CFBundleExecutable</key><string>Chat</string>"))
	return tr
}

func TestInterpreters(t *testing.T) {
	t.Parallel()
	tr := interpreterTree(t)
	type want struct{ executable, interpreter, payload, kind string }
	tests := []struct {
		name string
		args []string
		want want
	}{
		{"a program", []string{"/opt/agent", "-c", "x"}, want{executable: "/opt/agent"}},
		{"a name in launchd's path", []string{"sleep", "1"}, want{executable: "/bin/sleep"}},
		{"a shell script", []string{"/bin/sh", "-e", "/opt/run.sh", "a"}, want{"/bin/sh", "/bin/sh", "/opt/run.sh", PayloadScript}},
		{"a script without its shell", []string{"/opt/run.sh"}, want{"/bin/sh", "/bin/sh", "/opt/run.sh", PayloadScript}},
		{"env -S in a script", []string{"/opt/run.py", "x"}, want{"/usr/bin/python3", "/usr/bin/python3", "/opt/run.py", PayloadScript}},
		{"a script of an unknown interpreter", []string{"/opt/odd"}, want{"/opt/vm", "/opt/vm", "/opt/odd", PayloadScript}},
		{"a script that interprets itself", []string{"/opt/loop"}, want{"", "/opt/loop", "/opt/loop", PayloadScript}},
		{"options with arguments", []string{"/usr/bin/python3", "-W", "ignore", "-Xdev", "-u", "/opt/plain.py", "-m"},
			want{"/usr/bin/python3", "/usr/bin/python3", "/opt/plain.py", PayloadScript}},
		{"a link to an interpreter", []string{"/opt/bin/interp", "/opt/plain.py"}, want{"/usr/bin/python3", "/opt/bin/interp", "/opt/plain.py", PayloadScript}},
		{"a module", []string{"/usr/bin/python3", "-um", "http.server"}, want{"/usr/bin/python3", "/usr/bin/python3", "http.server", PayloadModule}},
		{"inline python", []string{"/usr/bin/python3", "-c", "print(1)"}, want{"/usr/bin/python3", "/usr/bin/python3", "", PayloadInline}},
		{"inline perl, attached", []string{"/usr/bin/perl", "-MSocket", "-e1"}, want{"/usr/bin/perl", "/usr/bin/perl", "", PayloadInline}},
		{"a missing script", []string{"/usr/bin/ruby", "-I", "/x", "/none.rb"}, want{"/usr/bin/ruby", "/usr/bin/ruby", "/none.rb", PayloadMissing}},
		{"exec in a shell's text", []string{"/bin/sh", "-c", "exec /opt/agent --x"}, want{"/opt/agent", "/bin/sh", "/opt/agent", PayloadMachO}},
		{"a busy shell's text", []string{"/bin/bash", "-lc", "/bin/sleep 10 && cd /tmp; A=1 '/opt/agent' >/dev/null 2>&1 &"},
			want{"/opt/agent", "/bin/bash", "/opt/agent", PayloadMachO}},
		{"a script in a shell's text", []string{"/bin/zsh", "-c", "nohup python3 /opt/plain.py"},
			want{"/usr/bin/python3", "/usr/bin/python3", "/opt/plain.py", PayloadScript}},
		{"a shell's text without a program", []string{"/bin/sh", "-c", "while true; do :; done"}, want{"/bin/sh", "/bin/sh", "", PayloadInline}},
		{"a shell's standard input", []string{"/bin/sh"}, want{"/bin/sh", "/bin/sh", "", PayloadInline}},
		{"env", []string{"/usr/bin/env", "-i", "A=b", "-u", "X", "C=d", "/opt/agent", "x"}, want{"/opt/agent", "/usr/bin/env", "/opt/agent", PayloadMachO}},
		{"env to an interpreter", []string{"/usr/bin/env", "python3", "/opt/plain.py"},
			want{"/usr/bin/python3", "/usr/bin/python3", "/opt/plain.py", PayloadScript}},
		{"arch", []string{"/usr/bin/arch", "-x86_64", "-e", "A=b", "/opt/agent"}, want{"/opt/agent", "/usr/bin/arch", "/opt/agent", PayloadMachO}},
		{"nice, three deep", []string{"nohup", "nice", "-n", "5", "caffeinate", "-i", "/opt/agent"},
			want{"/opt/agent", "/usr/bin/caffeinate", "/opt/agent", PayloadMachO}},
		{"too deep", []string{"nohup", "nohup", "nohup", "nohup", "/opt/agent"}, want{"/usr/bin/nohup", "/usr/bin/nohup", "", PayloadMissing}},
		{"sudo", []string{"/usr/bin/sudo", "-u", "nobody", "-n", "/opt/agent"}, want{"/opt/agent", "/usr/bin/sudo", "/opt/agent", PayloadMachO}},
		{"su", []string{"/usr/bin/su", "-", "ada", "-c", "/opt/agent x"}, want{"/opt/agent", "/usr/bin/su", "/opt/agent", PayloadMachO}},
		{"login", []string{"/usr/bin/login", "-f", "ada", "/opt/agent"}, want{"/opt/agent", "/usr/bin/login", "/opt/agent", PayloadMachO}},
		{"xcrun", []string{"/usr/bin/xcrun", "--sdk", "macosx", "python3", "/opt/plain.py"},
			want{"/usr/bin/python3", "/usr/bin/python3", "/opt/plain.py", PayloadScript}},
		{"open -a", []string{"/usr/bin/open", "-g", "-a", "Chat", "--args", "x"},
			want{"/Applications/Chat.app/Contents/MacOS/Chat", "/usr/bin/open", "/Applications/Chat.app", PayloadBundle}},
		{"open a folder", []string{"/usr/bin/open", "-n", "/Applications/Chat.app"},
			want{"/Applications/Chat.app/Contents/MacOS/Chat", "/usr/bin/open", "/Applications/Chat.app", PayloadBundle}},
		{"open nothing", []string{"/usr/bin/open", "-a", "Gone"}, want{"/usr/bin/open", "/usr/bin/open", "Gone", PayloadMissing}},
		{"osascript", []string{"/usr/bin/osascript", "-l", "JavaScript", "-e", "1"}, want{"/usr/bin/osascript", "/usr/bin/osascript", "", PayloadInline}},
		{"java -jar", []string{"/usr/bin/java", "-Xmx1g", "-cp", "/x", "-jar", "/opt/plain.py"},
			want{"/usr/bin/java", "/usr/bin/java", "/opt/plain.py", PayloadScript}},
		{"java class", []string{"/usr/bin/java", "-Dx=y", "com.example.Main"}, want{"/usr/bin/java", "/usr/bin/java", "com.example.Main", PayloadModule}},
		{"a class file is no universal file", []string{"/bin/sh", "/opt/Main.class"}, want{"/bin/sh", "/bin/sh", "/opt/Main.class", PayloadScript}},
		{"node", []string{"/usr/local/bin/node", "--require", "/x.js", "--max-old-space-size=9", "/opt/plain.py"},
			want{"/usr/local/bin/node", "/usr/local/bin/node", "/opt/plain.py", PayloadScript}},
		{"deno", []string{"/usr/local/bin/deno", "run", "--allow-net", "/opt/plain.py"},
			want{"/usr/local/bin/deno", "/usr/local/bin/deno", "/opt/plain.py", PayloadScript}},
		{"php", []string{"/usr/local/bin/php", "-d", "a=b", "-f", "/opt/plain.py"},
			want{"/usr/local/bin/php", "/usr/local/bin/php", "/opt/plain.py", PayloadScript}},
		{"a version in the name", []string{"/usr/local/bin/lua5.4", "-l", "x", "/opt/plain.py"},
			want{"/usr/local/bin/lua5.4", "/usr/local/bin/lua5.4", "/opt/plain.py", PayloadScript}},
		{"curl", []string{"/usr/bin/curl", "-s", "http://example.com/x"}, want{"/usr/bin/curl", "/usr/bin/curl", "", PayloadInline}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			job := Job{Program: tt.args[0]}
			x := &exec{ctx: t.Context(), files: newScan(tr.root(), nil).files}
			x.run(&job, tt.args[1:])
			require.Equal(t, tt.want, want{job.Executable, job.Interpreter, job.PayloadPath, job.PayloadKind})
		})
	}
}

// TestShellWordsAgreeWithTheShell asks the machine's own shell how it cuts a command into words.
func TestShellWordsAgreeWithTheShell(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("there is no /bin/sh")
	}
	for _, text := range []string{
		"/opt/agent --a b", `/opt/agent "a b" 'c "d"' e\ f "g'h" "i\"j"`, "a  \tb", `x''y""z`, `'a'"b"c\d`, "a # comment", `a "#" b#c`, `a '|;&()' "&&"`,
		"a \"\" ''", "'a\nb' c",
	} {
		out, err := osexec.Command("/bin/sh", "-c", `printf '%s\0' `+text).Output() //nolint:gosec // the texts above
		require.NoError(t, err)
		commands := shellCommands(text)
		require.Len(t, commands, 1, text)
		got := append([]string{commands[0].name}, commands[0].args...)
		require.Equal(t, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), got, text)
	}
}

// TestOthers: no program gets out of sight by standing between others.
func TestOthers(t *testing.T) {
	t.Parallel()
	tr := interpreterTree(t)
	tr.write("/tmp/env", machO)
	tr.write("/opt/second", machO)
	tr.write("/opt/start.sh", "#!/bin/sh\n# /opt/vm\nset -e\ncd /opt && ./second &\nif true; then exec /opt/agent \"$@\"; fi\n/bin/sleep 1\n/opt/plain.py\n/gone/away\n")
	tests := []struct {
		args []string
		want []string
	}{
		{[]string{"/tmp/env", "/usr/bin/env", "/bin/sleep"}, []string{"/tmp/env"}},
		{[]string{"/usr/bin/env", "/tmp/env", "/bin/sleep"}, nil}, // it is the interpreter
		{[]string{"/bin/sh", "-c", "/opt/second & /opt/agent; /bin/sleep 3"}, []string{"/opt/agent"}},
		{[]string{"/opt/start.sh"}, []string{"/opt/agent"}},
		{[]string{"/bin/sh", "/opt/start.sh"}, []string{"/opt/agent"}},
		{[]string{"/opt/agent"}, nil},
	}
	for _, tt := range tests {
		job := Job{Program: tt.args[0]}
		x := &exec{ctx: t.Context(), files: newScan(tr.root(), nil).files}
		x.run(&job, tt.args[1:])
		require.Equal(t, tt.want, job.Others, "%q", tt.args)
		require.NotEmpty(t, job.Executable)
	}
}

func TestScriptCryptoNamesOnly(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want []string
	}{
		{"openssl enc -aes-256-cbc -k secret", []string{"aes", "openssl"}},
		{"libc.CCCrypt(0, 0)", []string{"cccrypt"}},
		{"from Crypto.Cipher import AES\nAES.new(k, AES.MODE_CTR)", []string{"aes", "pycrypto"}},
		{"from cryptography.hazmat.primitives.ciphers import Cipher", []string{"cryptography"}},
		{"require('crypto').createCipheriv('chacha20', k, n)", []string{"chacha20", "node-crypto"}},
		{"cipher = OpenSSL::Cipher.new('rc4')", []string{"rc4", "ruby-openssl"}},
		{"import nacl.secret", []string{"nacl"}},
		{"echo openssl is great, and so are caesar and aesthetics", nil},
		{"openssl s_client -connect x:443", nil},
	}
	for _, tt := range tests {
		var s script
		s.text(tt.text)
		require.Equal(t, tt.want, s.hints(), tt.text)
	}
}

func TestInsertLibraries(t *testing.T) {
	t.Parallel()
	tr := interpreterTree(t)
	tr.job("/Library/LaunchDaemons/a.plist", label("a")+programArguments("/usr/bin/env", "DYLD_INSERT_LIBRARIES=/e.dylib", "/opt/agent")+
		"<key>EnvironmentVariables</key><dict><key>DYLD_INSERT_LIBRARIES</key><string>/a.dylib::/b.dylib</string></dict>")
	tr.job("/Library/LaunchDaemons/b.plist", label("b")+programArguments("/bin/sh", "-c", "DYLD_INSERT_LIBRARIES=/s.dylib exec /opt/agent"))
	jobs := tr.jobs()
	require.Equal(t, []string{"/a.dylib", "/b.dylib", "/e.dylib"}, jobs["/Library/LaunchDaemons/a.plist"].InsertLibraries)
	require.Equal(t, []string{"/s.dylib"}, jobs["/Library/LaunchDaemons/b.plist"].InsertLibraries)
}
