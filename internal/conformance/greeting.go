package conformance

// What a greeting in clear text may be before ciphertext: a login, a line, a key exchange in JSON.
const (
	minGreeting  = 16
	maxGreeting  = 1024
	maxGreetings = 2 // messages of each side
)

// textWindow is how many bytes tell text from ciphertext, of which 3 in 8 are printable: maxChance of them or more are by one in 4,000.
const (
	textWindow = 16
	maxChance  = 13
)

// behindGreeting looks for ciphertext in both directions of a stream after both began in clear text: a login, then encryption, without any
// protocol that a recognizer knows.
func (e *examined) behindGreeting() bool {
	a, b := &e.sides[0], &e.sides[1]
	if e.datagrams {
		return false
	}
	header := [2]int{greeting(a.data), greeting(b.data)}
	for i := range header {
		if header[i] == 0 || len(e.sides[i].data)-header[i] < 2*minRandom {
			return false
		}
	}
	e.least = minSearched
	defer func() { e.least = 0 }()
	a.stream[0], b.stream[0] = a.data, b.data
	return e.accept([2][][]byte{a.stream[:], b.stream[:]}, header, stricter)
}

// greeting is where the text that b starts with has surely ended, 0 where b does not start with text, or does not end within maxGreeting.
// A short binary header may precede it.
func greeting(b []byte) int {
	const lead = 9 // a type and a length
	text, from := 0, 0
	for i, c := range b[:min(len(b), maxGreeting)] {
		if printableASCII(c) {
			text++
		}
		if i-from == textWindow {
			if printableASCII(b[from]) {
				text--
			}
			from++
		}
		if i-from < textWindow-1 || from < lead {
			continue
		}
		if text < maxChance {
			if i+1-textWindow < minGreeting {
				return 0
			}
			return i + 1
		}
	}
	return 0
}

func printableASCII(c byte) bool {
	return c >= 0x20 && c <= 0x7e || c == '\n' || c == '\r' || c == '\t'
}

// afterGreeting leaves out the first messages that are text, where there are others.
func afterGreeting(all [][]byte) [][]byte {
	for n := range min(maxGreetings, len(all)) {
		if len(all[n]) < minGreeting || !mostlyText(all[n]) {
			return all[n:]
		}
	}
	return all[min(maxGreetings, len(all)):]
}
