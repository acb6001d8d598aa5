package privilege

import (
	"errors"
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// offline uses as much of Landlock's sixth version (files, TCP, abstract sockets, signals) as the kernel has, in all threads; without Landlock it does
// nothing. Landlock does not know MPTCP, and UDP not yet: the filter of system calls refuses all Internet sockets.
func offline(writable []string) error {
	err := landlock.V6.BestEffort().Restrict(
		landlock.PathAccess(llsys.AccessFSReadFile|llsys.AccessFSReadDir, "/"),
		landlock.RWDirs(writable...).IgnoreIfMissing(),
	)
	if err != nil {
		return fmt.Errorf("privilege: landlock: %w", err)
	}
	asked := everyThread(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1) // Landlock has asked for it already, where there is one
	if err := filter(); err != nil {
		return fmt.Errorf("privilege: filter of system calls: %w", errors.Join(err, asked))
	}
	return nil
}
