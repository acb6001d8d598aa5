package conformance

// What a direction may send in clear before ciphertext: a login, a line, a key exchange in JSON, a table.
const (
	minGreeting   = 16
	maxGreeting   = 1024
	maxGreetings  = 2  // messages of each side
	maxClearPause = 32 // bytes without a sign of clear that a clear start may have within: a key, a session id
)

// leastBehind is how many bytes of ciphertext each direction must show behind a clear start, and leastBehindBoth both together.
const (
	leastBehind     = minRandom
	leastBehindBoth = 4 * minRandom
)

// strict is the likelihood that ciphertext behind a clear start needs: where that ends is not searched for by it, but is one of a few places.
const strict = 0.003

// behindClearStart looks for ciphertext in both directions of a stream of which one or both began in clear: a login or a table, then
// encryption, without any protocol that a recognizer knows. Each must be ciphertext to its end, which payload that is compressed or media
// is in one direction only.
func (e *examined) behindClearStart(c *Conversation) bool {
	a, b := &e.sides[0], &e.sides[1]
	if e.datagrams || !startSeen(c) || len(a.data) < leastBehind || len(b.data) < leastBehind || endsClear(a.data) || endsClear(b.data) {
		return false
	}
	header := [2]int{clearStart(a.data), clearStart(b.data)}
	if (c.Client.Gap || c.Server.Gap) && !mostlyText(a.data[:header[0]], b.data[:header[1]]) {
		return false // a binary message goes on behind what was lost
	}
	return header != [2]int{} && e.behindStarts(header)
}

// endsClear is the cheap look at the end of a direction that most structure fails.
func endsClear(b []byte) bool {
	return improbable.Excludes(b[len(b)-leastBehind:])
}

func (e *examined) behindStarts(header [2]int) bool {
	var rest [2][][]byte
	for i := range e.sides {
		s := &e.sides[i]
		header[i] = s.wholeMessages(header[i])
		if len(s.data)-header[i] < leastBehind || compressedBehind(s.data[max(0, header[i]-clearWindow):]) != nil {
			return false
		}
		rest[i] = s.behind(header[i])
	}
	e.least = leastBehindBoth
	defer func() { e.least = 0 }()
	if !e.accept(rest, [2]int{}, strict) {
		return false
	}
	e.sides[0].header, e.sides[1].header = header[0], header[1]
	return true
}

// wholeMessages is the end of the message that ends just before a clear start surely has ended, or that.
func (s *side) wholeMessages(start int) int {
	end := 0
	for _, m := range s.whole {
		if end += len(m); end > start {
			return start
		}
		if end > start-clearWindow {
			return end
		}
	}
	return start
}

// behind are the messages after a clear start.
func (s *side) behind(start int) [][]byte {
	rest, at := s.room.split[:0], 0
	for _, m := range s.whole {
		if skip := max(0, start-at); skip < len(m) {
			rest = append(rest, m[skip:])
		}
		at += len(m)
	}
	return distinct(rest, rest[:0])
}

// clearWindow is how many bytes tell clear from ciphertext. Uniform ones show a sign of clear once in some thousand windows.
const clearWindow = 16

// Signs of clear in a window: so many printable bytes, of which 3 in 8 are by chance, so many equal bytes, or so many small ones.
const (
	clearPrintable = 14
	clearEqual     = 4
	clearSmall     = 8
	small          = 0x10
)

// clearStart is where the clear bytes that b starts with have surely ended, as a rule at most a window too late; 0 where b does not start in clear, or
// does not end to be within maxGreeting.
func clearStart(b []byte) int {
	var counts [256]uint8
	printable, smalls, end := 0, 0, 0
	for i, c := range b[:min(len(b), maxGreeting+maxClearPause)] {
		if counts[c]++; printableASCII(c) {
			printable++
		}
		if c < small {
			smalls++
		}
		if i >= clearWindow {
			old := b[i-clearWindow]
			if counts[old]--; printableASCII(old) {
				printable--
			}
			if old < small {
				smalls--
			}
		}
		if i < clearWindow-1 {
			continue
		}
		if printable >= clearPrintable || smalls >= clearSmall || counts[c] >= clearEqual {
			end = i + 1
		} else if i+1-end > maxClearPause {
			break
		}
	}
	if end < minGreeting || end > maxGreeting {
		return 0
	}
	return end
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
