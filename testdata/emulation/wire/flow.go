package wire

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A Flow is one client's part in a campaign: a format, a shape and a run, each with a server address of its own, so that each is a finding of its own.
type Flow struct {
	Format Format
	Shape  Shape
	Run    int
	Server netip.AddrPort
}

// Plan are the flows of a campaign of so many runs (1 to 60), in a repeatable order.
func Plan(runs int) []Flow {
	var all []Flow
	for run := range runs {
		for i, f := range Formats() {
			for k, s := range f.Shapes() {
				address := netip.AddrFrom4([4]byte{10, 77, byte(10 + i), byte(1 + k*runs + run)})
				all = append(all, Flow{f, s, run, netip.AddrPortFrom(address, f.Port)})
			}
		}
	}
	return all
}

// ParseFlow is the flow of a name and a server's address.
func ParseFlow(name, server string) (f Flow, err error) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return f, fmt.Errorf("wire: flow %q: not format/shape/run", name)
	}
	if f.Format, err = Named(parts[0]); err != nil {
		return f, err
	}
	if f.Shape, err = ShapeNamed(parts[1]); err != nil {
		return f, err
	}
	if f.Run, err = strconv.Atoi(parts[2]); err != nil {
		return f, fmt.Errorf("wire: flow %q: %w", name, err)
	}
	f.Server, err = netip.ParseAddrPort(server)
	return f, err
}

// Name tells a flow from all others of its campaign.
func (f Flow) Name() string { return fmt.Sprintf("%s/%s/%d", f.Format.Name, f.Shape.Name, f.Run) }

// Dice are what one end's sizes, pauses and words are drawn from.
func (f Flow) Dice(seed uint64, server bool) *rand.Rand {
	return rand.New(NewEnd(nil, server, seed, f.Name()+" shape").Random)
}

// A Log is what a client says of its part, a line of JSON on its standard output.
type Log struct {
	Flow   string
	PID    int
	Path   string
	Server string
	Local  []string  // a connection each
	First  time.Time // of the first byte
	Last   time.Time
	Error  string `json:",omitempty"`
}
