package sqlhost

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"sync/atomic"

	osquery "github.com/osquery/osquery-go"
	gen "github.com/osquery/osquery-go/gen/osquery"
)

// A refusal is what osquery's extension manager answers, in its words (osquery/extensions/interface.cpp).
type refusal string

func (r refusal) Error() string { return string(r) }

const (
	duplicateExtension refusal = "Duplicate extension registered"
	registryBroadcast  refusal = "Failed adding registry broadcast"
	unknownUUID        refusal = "No extension UUID registered"
)

// An extension is one registered extension and its tables.
type extension struct {
	uuid       int64
	name       string
	version    string
	sdkVersion string
	attached   bool        // lives in this process, has no socket
	seen       atomic.Bool // its socket has been connected to
	tables     []*relation
}

// A tableCall sends one request to a table's plugin, wherever it lives.
type tableCall func(ctx context.Context, request gen.ExtensionPluginRequest) (gen.ExtensionPluginResponse, error)

// inProcess calls a plugin directly. A panic in the plugin is an error of that one call.
func inProcess(plugin osquery.OsqueryPlugin) tableCall {
	return func(ctx context.Context, request gen.ExtensionPluginRequest) (rows gen.ExtensionPluginResponse, err error) {
		defer func() {
			if p := recover(); p != nil {
				rows, err = nil, fmt.Errorf("table %s: panic: %v", plugin.Name(), p)
			}
		}()
		response := plugin.Call(ctx, request)
		return responseRows(&response)
	}
}

// responseRows is what a plugin answered, or the error that its status says.
func responseRows(response *gen.ExtensionResponse) (gen.ExtensionPluginResponse, error) {
	if response == nil || response.Status == nil {
		return nil, errors.New("extension answered without a status")
	}
	if response.Status.Code != 0 {
		return nil, errors.New(response.Status.Message)
	}
	return response.Response, nil
}

// register gives the extension a UUID and adds its tables, all or none.
func (h *Host) register(ext *extension) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, other := range h.extensions {
		if other.name == ext.name {
			return duplicateExtension
		}
	}
	if len(h.extensions) >= maxExtensions {
		return registryBroadcast
	}
	seen := map[string]bool{}
	for _, r := range ext.tables {
		if h.tables[r.key()] != nil || seen[r.key()] {
			return registryBroadcast
		}
		seen[r.key()] = true
	}
	ext.uuid = h.freeUUID()
	h.extensions[ext.uuid] = ext
	for _, r := range ext.tables {
		h.tables[r.key()] = r
	}
	h.generation++
	return nil
}

// freeUUID is a random 16-bit route that is not in use, as osquery gives them out. The caller holds h.mu.
func (h *Host) freeUUID() int64 {
	for {
		uuid := 1 + rand.Int64N(1<<16-1)
		if h.extensions[uuid] == nil {
			return uuid
		}
	}
}

// deregister removes an extension and its tables.
func (h *Host) deregister(uuid int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ext := h.extensions[uuid]
	if ext == nil {
		return unknownUUID
	}
	delete(h.extensions, uuid)
	for _, r := range ext.tables {
		delete(h.tables, r.key())
	}
	h.generation++
	return nil
}

// registered lists the extensions by UUID.
func (h *Host) registered() []*extension {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*extension, 0, len(h.extensions))
	for _, ext := range h.extensions {
		list = append(list, ext)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].uuid < list[j].uuid })
	return list
}

// snapshot is the set of tables now, and the generation that it belongs to.
func (h *Host) snapshot() ([]*relation, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*relation, 0, len(h.tables))
	for _, r := range h.tables {
		list = append(list, r)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].name < list[j].name })
	return list, h.generation
}

// call sends a request to a table by name.
func (h *Host) call(ctx context.Context, registry, item string, request gen.ExtensionPluginRequest) (gen.ExtensionPluginResponse, error) {
	h.mu.Lock()
	r := h.tables[strings.ToLower(item)]
	h.mu.Unlock()
	if registry != "table" || r == nil {
		return nil, fmt.Errorf("cannot find registry item: %.64s/%.64s", registry, item)
	}
	return r.call(ctx, request)
}
