package sensor

import (
	"fmt"

	"github.com/cipherlens/cipherlens/internal/image"
	"github.com/cipherlens/cipherlens/internal/process"
)

// Flags of code that runs: xnu osfmk/kern/cs_blobs.h.
const (
	codeValid    = 0x1        // CS_VALID
	codeDebugged = 0x10000000 // CS_DEBUGGED: pages may have been changed with the kernel's consent
)

// Running gives what is proven of the code that runs as a process, from the signature of its executable's file and what the kernel says of
// the process (nil where there is no such kernel). The kernel checks each page that it loads, so its word counts more than the file, which may
// have been replaced since; archs is how many slices the file has. The error says where the two disagree.
func Running(file image.Signature, kernel *process.CodeIdentity, archs int) (image.Signature, error) {
	switch {
	case kernel == nil:
		return file, nil
	case kernel.CDHash == "":
		if file.Kind == "" || file.Kind == image.Unsigned {
			return file, nil
		}
		return invalid(file, "the kernel runs it as unsigned code")
	case kernel.Flags&codeValid == 0:
		return invalid(file, fmt.Sprintf("the kernel holds the running code for changed (flags %#x)", kernel.Flags))
	case kernel.CDHash == file.CDHash && kernel.Flags&codeDebugged == 0 && file.Kind != image.SignatureInvalid:
		file.Checked = "kernel"
		return file, nil
	case kernel.CDHash != file.CDHash && archs == 1:
		return invalid(file, "the running code is another: its cdhash is "+kernel.CDHash)
	}
	return file, nil // another slice than the one that the file is judged by, or code with a debugger
}

// invalid takes back what the file proved.
func invalid(s image.Signature, why string) (image.Signature, error) {
	s.Kind, s.TeamID, s.Reason = image.SignatureInvalid, "", ""
	return s, fmt.Errorf("signature: %s", why)
}
