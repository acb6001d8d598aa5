package privilege

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Landlock would be the way to do this, but a process under it may not look at others as ptrace(2) understands it, which reading /proc/<pid>/exe and
// /proc/<pid>/fd is: no flow would have an owner. A mount namespace of its own does not stand in the way of that.

// marker is in the environment of the program that was started anew.
const marker = "CIPHERLENS_CONFINED"

func confine(writable []string) error {
	if os.Getenv(marker) != "" || os.Geteuid() != 0 {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("privilege: %w", err)
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: when it fails half-way, the thread ends and its namespace with it
		err := own(writable)
		if err == nil {
			err = syscall.Exec(program, os.Args, append(os.Environ(), marker+"=1"))
		}
		failed <- fmt.Errorf("privilege: %w", err)
	}()
	return <-failed
}

// own gives this thread a view of the file system of its own, read-only but for the folders. Mounts that come later on the host come here too, as they are.
func own(writable []string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount propagation: %w", err)
	}
	var open []string
	for _, folder := range writable {
		folder, err := filepath.EvalSymlinks(folder)
		if errors.Is(err, os.ErrNotExist) || folder == "/" {
			continue
		}
		if err == nil {
			err = unix.Mount(folder, folder, "", unix.MS_BIND|unix.MS_REC, "") // with what is mounted below it: the other folder, perhaps
		}
		if err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		open = append(open, folder)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("read-only: %w", err)
	}
	for _, folder := range open {
		if err := unix.MountSetattr(unix.AT_FDCWD, folder, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
	}
	return nil
}

// readOnly says whether the root of the file system is.
func readOnly() error {
	var s unix.Statfs_t
	if err := unix.Statfs("/", &s); err != nil {
		return err
	}
	if s.Flags&unix.ST_RDONLY == 0 {
		return errors.New("/ is writable")
	}
	return nil
}
