package wire

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// A Shape is how an implant talks: so many exchanges, after a pause each, of a message and its answer.
type Shape struct {
	Name      string
	Exchanges int
	Pause     time.Duration // mean; each is spread evenly over 0.7 to 1.3 of it
	Up, Down  int           // bytes of clear text, about
	Note      string
}

// Shapes are the four of the report.
var Shapes = []Shape{
	{"beacon", 5, 5 * time.Second, 180, 40, "5 reports, 5 s apart with 30 % jitter"},
	{"interactive", 20, 400 * time.Millisecond, 90, 60, "20 commands and answers, 0.4 s apart"},
	{"bulk", 24, 20 * time.Millisecond, 4000, 24, "an upload of 96 kB"},
	{"check-in", 1, 0, 120, 40, "one message, one answer"},
}

// TinyShape is for evasion by messages of 16 to 48 bytes, so often that the connection is never silent for long.
var TinyShape = Shape{"tiny", 16, 1200 * time.Millisecond, 12, 8, "messages of 16 to 48 bytes, 1.2 s apart"}

// ShapeNamed finds a shape.
func ShapeNamed(name string) (Shape, error) {
	for _, s := range append(Shapes, TinyShape) {
		if s.Name == name {
			return s, nil
		}
	}
	return Shape{}, fmt.Errorf("wire: no shape %q", name)
}

// Talk is the client's part: exchange by exchange.
func (s Shape) Talk(l Link, dice *rand.Rand) error {
	for i := range s.Exchanges {
		if i > 0 {
			time.Sleep(s.pause(dice))
		}
		if err := s.exchange(l, dice, i); err != nil {
			return fmt.Errorf("exchange %d: %w", i, err)
		}
	}
	return nil
}

func (s Shape) pause(dice *rand.Rand) time.Duration {
	return time.Duration(float64(s.Pause) * (0.7 + 0.6*dice.Float64()))
}

func (s Shape) exchange(l Link, dice *rand.Rand, i int) error {
	if err := l.Send(facts(dice, s.Up, i)); err != nil {
		return err
	}
	_, err := l.Receive()
	return err
}

// Answer is the server's part, until the client is gone.
func (s Shape) Answer(l Link, dice *rand.Rand) error {
	for i := 0; ; i++ {
		if _, err := l.Receive(); err != nil {
			return err
		}
		if err := l.Send(orders(dice, s.Down, i)); err != nil {
			return err
		}
	}
}

// facts are made-up lines about a host, of about n bytes.
func facts(dice *rand.Rand, n, i int) []byte {
	return filled(dice, n, func() string {
		return fmt.Sprintf("seq=%d host=demo-%d.example user=ana os=14.2.1 uptime=%d load=%.2f\n", i, dice.IntN(9), dice.IntN(1e6), dice.Float64()*4)
	})
}

// orders are made-up answers, of about n bytes.
func orders(dice *rand.Rand, n, i int) []byte {
	return filled(dice, n, func() string {
		return fmt.Sprintf("{\"id\":%d,\"for\":%d,\"task\":\"none\",\"sleep\":%d}\n", dice.IntN(1e9), i, 5+dice.IntN(60))
	})
}

// filled is text of lines, cut at between three and five quarters of n bytes.
func filled(dice *rand.Rand, n int, line func() string) []byte {
	var b strings.Builder
	n = max(1, n*3/4+dice.IntN(n/2+1))
	for b.Len() < n {
		b.WriteString(line())
	}
	return []byte(b.String()[:n])
}
