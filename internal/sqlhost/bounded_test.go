package sqlhost

import (
	"context"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	gen "github.com/osquery/osquery-go/gen/osquery"
	"github.com/stretchr/testify/require"
)

// registerMessage is a registerExtension call as osquery-go writes it.
func registerMessage(t testing.TB, registry gen.ExtensionRegistry) []byte {
	t.Helper()
	buffer := thrift.NewTMemoryBufferLen(1024)
	protocol := thrift.NewTBinaryProtocolConf(buffer, nil)
	ctx := context.Background()
	args := gen.ExtensionManagerRegisterExtensionArgs{Info: &gen.InternalExtensionInfo{Name: "fuzz"}, Registry: registry}
	require.NoError(t, protocol.WriteMessageBegin(ctx, "registerExtension", thrift.CALL, 1))
	require.NoError(t, args.Write(ctx, protocol))
	require.NoError(t, protocol.WriteMessageEnd(ctx))
	return buffer.Bytes()
}

// process answers one message as serve does, with limits.
func process(m *manager, message []byte, limit bounds) error {
	config := &thrift.TConfiguration{MaxMessageSize: int32(limit.bytes)}
	in := thrift.NewTMemoryBufferLen(len(message))
	_, _ = in.Write(message)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := gen.NewExtensionManagerProcessor(managerHandler{m}).Process(ctx,
		newBoundedProtocol(in, limit, config), thrift.NewTBinaryProtocolConf(thrift.NewTMemoryBufferLen(1024), config))
	return err
}

func TestMessageBounds(t *testing.T) {
	t.Parallel()
	host := newHost(t, Options{})
	m := &manager{host: host}
	message := registerMessage(t, registryOf("x", "a"))
	// One registry, one table, one column of four members: seven elements; their texts and names are 34 bytes.
	require.Error(t, process(m, message, bounds{elements: 6, bytes: 1000}))
	require.Error(t, process(m, message, bounds{elements: 7, bytes: 33}))
	require.Empty(t, host.registered())
	require.NoError(t, process(m, message, bounds{elements: 7, bytes: 34}))
	require.Len(t, host.registered(), 1)
}

// No message panics, hangs or makes the host unusable.
func FuzzManagerMessage(f *testing.F) {
	host, err := New(f.Context(), Options{ExtensionsTimeout: time.Millisecond, MaxRows: 1000})
	require.NoError(f, err)
	f.Cleanup(func() { _ = host.Close() })
	m := &manager{host: host, path: f.TempDir() + "/s"}
	f.Add(registerMessage(f, registryOf("x", "a")))
	f.Add([]byte("\x80\x01\x00\x01\x00\x00\x00\x05query\x00\x00\x00\x01\x0b\x00\x01\x00\x00\x00\x08select 1\x00"))
	f.Add([]byte("\x80\x01\x00\x01\x00\x00\x00\x13deregisterExtension\x00\x00\x00\x01\x0a\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00"))
	f.Fuzz(func(t *testing.T, message []byte) {
		_ = process(m, message, requestBounds)
		for _, ext := range host.registered() {
			require.NoError(t, host.deregister(ext.uuid))
		}
		_, err := host.Query(t.Context(), "select 1")
		require.NoError(t, err)
	})
}
