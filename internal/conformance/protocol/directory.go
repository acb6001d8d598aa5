package protocol

// smbMessage says whether b starts with a session message that holds SMB 1, 2 or 3.
func smbMessage(b []byte) bool {
	r := read(b)
	return r.u32()>>24 == 0 && r.left() >= 4 && (has(r.b, "\xffSMB") || has(r.b, "\xfeSMB") || has(r.b, "\xfdSMB"))
}

var directory []entry
