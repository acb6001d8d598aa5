package sqlhost

import (
	"context"
	"errors"

	"github.com/apache/thrift/lib/go/thrift"
)

// A boundedProtocol bounds what one message may hold. Thrift alone bounds single strings and containers, and makes room
// for as many elements as a peer claims, so that a few bytes of nested containers could claim all memory.
type boundedProtocol struct {
	thrift.TProtocol
	limit bounds
	used  bounds
}

// bounds are a message's elements in containers and bytes in strings.
type bounds struct{ elements, bytes int }

var errTooLarge = errors.New("sqlhost: the Thrift message is too large")

func newBoundedProtocol(transport thrift.TTransport, limit bounds, config *thrift.TConfiguration) *boundedProtocol {
	return &boundedProtocol{TProtocol: thrift.NewTBinaryProtocolConf(transport, config), limit: limit}
}

func (p *boundedProtocol) ReadMessageBegin(ctx context.Context) (string, thrift.TMessageType, int32, error) {
	p.used = bounds{}
	return p.TProtocol.ReadMessageBegin(ctx)
}

// claim counts elements that the peer says are to come.
func (p *boundedProtocol) claim(elements int, err error) error {
	if err != nil {
		return err
	}
	p.used.elements += elements
	if p.used.elements > p.limit.elements {
		return thrift.NewTProtocolExceptionWithType(thrift.SIZE_LIMIT, errTooLarge)
	}
	return nil
}

func (p *boundedProtocol) ReadMapBegin(ctx context.Context) (thrift.TType, thrift.TType, int, error) {
	k, v, size, err := p.TProtocol.ReadMapBegin(ctx)
	return k, v, size, p.claim(size, err)
}

func (p *boundedProtocol) ReadListBegin(ctx context.Context) (thrift.TType, int, error) {
	e, size, err := p.TProtocol.ReadListBegin(ctx)
	return e, size, p.claim(size, err)
}

func (p *boundedProtocol) ReadString(ctx context.Context) (string, error) {
	s, err := p.TProtocol.ReadString(ctx)
	if err != nil {
		return "", err
	}
	p.used.bytes += len(s)
	if p.used.bytes > p.limit.bytes {
		return "", thrift.NewTProtocolExceptionWithType(thrift.SIZE_LIMIT, errTooLarge)
	}
	return s, nil
}
