package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

const (
	// maxBPFBuffer is BPF_MAXBUFSIZE; sysctl debug.bpf_maxbufsize may say more, and nobody needs it.
	maxBPFBuffer = 512 << 10

	// tapTag, in an interface's description, says that it is ours.
	tapTag = "cipherlens packet capture"
)

// struct pktap_filter: operation, kind, 24 bytes of interface name or type (bsd/net/pktap.h). There are always 8; the
// first that fits decides, and what none fits is left out.
const (
	tapFilters     = 8
	tapFilterSize  = 32
	tapFilterPass  = 1
	tapFilterType  = 1
	tapFilterName  = 2
	tapSetFilter   = 3    // PKTP_CMD_FILTER_SET
	ifTypeOther    = 0x01 // utun
	ifTypeEther    = 0x06
	ifTypePPP      = 0x17
	ifTypeIEEE1394 = 0x90
	ifTypeCellular = 0xff
)

// openPKTAP captures with process information. It makes a pktap interface of its own, which is destroyed at the end, and before
// that those that an earlier run of ours left behind when it was killed.
func openPKTAP(k bpfKernel, o LiveOptions) (*bpfSource, error) {
	tap, device, err := setUpTap(k, o)
	if err != nil {
		return nil, err
	}
	s := newBPFSource(ModePKTAP, o.Timeout, k.now())
	s.cleanup = tap.close
	s.add(device, tap.name, linkPKTAPDarwin)
	return s, nil
}

// setUpTap makes the interface and a device that captures on it from now on.
func setUpTap(k bpfKernel, o LiveOptions) (*tapInterface, *bpfDevice, error) {
	rules, err := tapRules(o.Interfaces)
	if err != nil {
		return nil, nil, err
	}
	filter, err := tapFilter(uint32(o.Snaplen), int32(k.pid()))
	if err != nil {
		return nil, nil, err
	}
	device, err := openDevice(k)
	if err != nil {
		return nil, nil, err
	}
	control, err := k.socket()
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("control socket: %w", err), device.close())
	}
	tap := &tapInterface{k: k, control: control}
	tap.removeLeaked(device)
	err = tap.create(rules)
	if err == nil {
		err = attachTap(device, tap.name, o.Buffer)
	}
	if err == nil {
		err = device.start(filter)
	}
	if err != nil {
		return nil, nil, errors.Join(err, device.close(), tap.close())
	}
	return tap, device, nil
}

// attachTap binds a device to a pktap interface and makes sure that it gives PKTAP headers.
func attachTap(d *bpfDevice, iface string, buffer int) error {
	if err := d.attach(iface, buffer, true); err != nil {
		return err
	}
	link, err := d.linkType()
	if err != nil || isPKTAP(link) {
		return err
	}
	if err := d.ioctl("BIOCSDLT", biocSDLT, number(linkPKTAPDarwin)); err != nil {
		return err
	}
	if link, err = d.linkType(); err == nil && !isPKTAP(link) {
		err = fmt.Errorf("%s gives link type %d, not PKTAP", iface, link)
	}
	return err
}

// tapRules are the interfaces that a pktap interface listens to. By default those of Apple's libpcap, PPP and cellular: no
// loopback, and no bridges, whose members are there already.
func tapRules(names []string) ([]byte, error) {
	if len(names) > tapFilters {
		return nil, fmt.Errorf("%d interfaces by name: PKTAP takes %d", len(names), tapFilters)
	}
	rules := make([]byte, tapFilters*tapFilterSize)
	rule := func(n int, kind uint32) []byte {
		b := rules[n*tapFilterSize:][:tapFilterSize]
		binary.LittleEndian.PutUint32(b, tapFilterPass)
		binary.LittleEndian.PutUint32(b[4:], kind)
		return b[8:]
	}
	for n, name := range names {
		copy(rule(n, tapFilterName)[:23], name)
	}
	if len(names) > 0 {
		return rules, nil
	}
	for n, kind := range []uint32{ifTypeEther, ifTypeIEEE1394, ifTypeOther, ifTypePPP, ifTypeCellular} {
		binary.LittleEndian.PutUint32(rule(n, tapFilterType), kind)
	}
	return rules, nil
}

// tapInterface is a pktap interface of ours.
type tapInterface struct {
	k       bpfKernel
	control int
	name    string
}

// create makes the interface, says whose it is, and which others it listens to.
func (t *tapInterface) create(rules []byte) error {
	request := ifreq("pktap")
	if err := t.k.ioctl(t.control, siocIFCREATE, request); err != nil {
		return fmt.Errorf("SIOCIFCREATE: %w", err)
	}
	t.name = interfaceName(request)
	if err := t.k.ioctl(t.control, siocSIFDESC, ifdescreq(t.name, tapTag)); err != nil {
		return fmt.Errorf("SIOCSIFDESC %s: %w", t.name, err)
	}
	spec := make([]byte, 40) // struct ifdrv64: name, command, length, data
	copy(spec[:interfaceNameLen-1], t.name)
	binary.LittleEndian.PutUint64(spec[16:], tapSetFilter)
	binary.LittleEndian.PutUint64(spec[24:], uint64(len(rules)))
	if err := t.k.ioctlPointer(t.control, siocSDRVSPEC, spec, 32, rules); err != nil {
		return fmt.Errorf("SIOCSDRVSPEC %s: %w", t.name, err)
	}
	return nil
}

// removeLeaked destroys pktap interfaces that have our tag and that nobody listens to. Failure is no reason to stop.
func (t *tapInterface) removeLeaked(device *bpfDevice) {
	all, err := t.k.interfaces()
	if err != nil {
		return
	}
	for _, i := range all {
		if !strings.HasPrefix(i.name, "pktap") {
			continue
		}
		description, users := ifdescreq(i.name, ""), ifreq(i.name)
		binary.LittleEndian.PutUint32(description[16:], 128)
		if t.k.ioctl(t.control, siocGIFDESC, description) != nil || text(description[20:], 128) != tapTag {
			continue
		}
		if t.k.ioctl(device.fd, biocATTACHCOUNT, users) == nil && binary.LittleEndian.Uint32(users[ifreqValue:]) == 0 {
			_ = t.k.ioctl(t.control, siocIFDESTROY, ifreq(i.name))
		}
	}
}

// close destroys the interface, if there is one.
func (t *tapInterface) close() error {
	var err error
	if t.name != "" {
		if err = t.k.ioctl(t.control, siocIFDESTROY, ifreq(t.name)); err != nil {
			err = fmt.Errorf("SIOCIFDESTROY %s: %w", t.name, err)
		}
	}
	return errors.Join(err, t.k.close(t.control))
}
