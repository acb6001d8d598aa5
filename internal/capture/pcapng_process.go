package capture

import "fmt"

// Apple's options of an enhanced packet block: the number of a process block within the section, counted from 0.
const (
	optProcess   = 0x8001
	optEffective = 0x8003
)

// penWireshark is the private enterprise number of Wireshark's custom blocks; entry type 3 describes a process
// (wiretap/pcapng-wireshark.c). The entry is little-endian, whatever its section is.
const (
	penWireshark     = 32622
	wiresharkProcess = 3
)

// addProcess reads Apple's process information block. Its option 3 is defined as a path, though no version of Apple's libpcap
// writes it.
func (f *pcapngFile) addProcess(body []byte) error {
	if len(body) < 4 {
		return errShort
	}
	if len(f.owners) >= maxProcesses {
		return fmt.Errorf("more than %d processes in one section", maxProcesses)
	}
	p := describe(int32(f.order.u32(body)), options{body[4:], f.order}, 4)
	f.owners = append(f.owners, f.tap.processes.intern(p))
	return nil
}

// custom reads Wireshark's process information; custom blocks of others are left alone.
func (f *pcapngFile) custom(body []byte) {
	const little = bigEndian(false)
	if len(body) < 16 || f.order.u32(body) != penWireshark || little.u32(body[4:]) != wiresharkProcess {
		return
	}
	entry := body[12:]
	if length := little.u32(body[8:]); uint64(length) < uint64(len(entry)) {
		entry = entry[:length]
	}
	if len(entry) < 4 || len(f.byPID) >= maxProcesses {
		return
	}
	p := describe(int32(little.u32(entry)), options{entry[4:], little}, 8)
	if f.byPID == nil {
		f.byPID = map[int32]*Process{}
	}
	f.byPID[p.PID] = f.tap.processes.intern(p)
}

// describe reads the options of a process block, which are the same for Apple and Wireshark but for the UUID's code.
func describe(pid int32, o options, uuidCode uint16) Process {
	p := Process{PID: max(pid, -1)}
	for {
		code, value, ok := o.next()
		switch {
		case !ok:
			return p
		case code == 2:
			p.Name = text(value, maxName)
		case code == 3 && len(value) <= maxPath:
			p.Path = text(value, maxPath)
		case code == uuidCode:
			p.UUID = uuidText(value)
		}
	}
}

// processOf is the process with this pid, which need not be described anywhere.
func (f *pcapngFile) processOf(pid int32) *Process {
	if p, ok := f.byPID[pid]; ok {
		return p
	}
	if len(f.byPID) >= maxProcesses {
		return nil
	}
	if f.byPID == nil {
		f.byPID = map[int32]*Process{}
	}
	p := f.tap.processes.intern(Process{PID: max(pid, -1)})
	f.byPID[pid] = p
	return p
}
