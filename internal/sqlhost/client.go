package sqlhost

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	gen "github.com/osquery/osquery-go/gen/osquery"
)

// How the core calls an extension.
const (
	callTimeout = 300 * time.Second // osquery's --thrift_timeout
	pingTimeout = 10 * time.Second
	dialRetry   = 20 * time.Millisecond // osquery's kExtensionInitializeLatency
)

// responseBounds bound one answer of an extension: the rows of a table.
var responseBounds = bounds{elements: 5_000_000, bytes: 256 << 20}

// socket is where an extension listens.
func (m *manager) socket(ext *extension) string { return fmt.Sprintf("%s.%d", m.path, ext.uuid) }

// dial connects to an extension. One that has just registered may need a moment before it listens.
func (m *manager) dial(ctx context.Context, ext *extension) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, m.host.opts.ExtensionsTimeout)
	defer cancel()
	for {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "unix", m.socket(ext))
		if err == nil {
			ext.seen.Store(true)
			return conn, nil
		}
		if ext.seen.Load() {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(dialRetry):
		}
	}
}

// withClient opens a connection to an extension for one request. It ends when ctx does.
func (m *manager) withClient(ctx context.Context, ext *extension, request func(*gen.ExtensionClient, context.Context) error) error {
	conn, err := m.dial(ctx, ext)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if stop() {
			_ = conn.Close()
		}
	}()
	config := &thrift.TConfiguration{MaxMessageSize: int32(responseBounds.bytes), SocketTimeout: callTimeout}
	transport := thrift.NewTBufferedTransport(thrift.NewTSocketFromConnConf(conn, config), 16<<10)
	protocol := newBoundedProtocol(transport, responseBounds, config)
	client := gen.NewExtensionClientProtocol(transport, protocol, protocol)
	if err := request(client, ctx); err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return nil
}

// ping asks an extension whether it is well.
func (m *manager) ping(ctx context.Context, ext *extension) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return m.withClient(ctx, ext, func(client *gen.ExtensionClient, ctx context.Context) error {
		status, err := client.Ping(ctx)
		if err == nil && (status == nil || status.Code != 0) {
			err = fmt.Errorf("ping: %v", status)
		}
		return err
	})
}

// overSocket calls a table in an extension's process, as osquery does: a ping on one connection, then the call on
// another.
func (m *manager) overSocket(ext *extension, name string) tableCall {
	return func(ctx context.Context, request gen.ExtensionPluginRequest) (gen.ExtensionPluginResponse, error) {
		if err := m.ping(ctx, ext); err != nil {
			return nil, refusal("Extension call failed: " + err.Error())
		}
		var response *gen.ExtensionResponse
		err := m.withClient(ctx, ext, func(client *gen.ExtensionClient, ctx context.Context) (err error) {
			response, err = client.Call(ctx, "table", name, request)
			return err
		})
		if err != nil {
			return nil, refusal("Extension call failed: " + err.Error())
		}
		return responseRows(response)
	}
}
