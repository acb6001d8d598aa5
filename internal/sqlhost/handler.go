package sqlhost

import (
	"context"
	"fmt"
	"time"

	gen "github.com/osquery/osquery-go/gen/osquery"
)

// managerHandler answers the extension manager's Thrift calls (osquery/extensions/interface.cpp).
type managerHandler struct{ m *manager }

var _ gen.ExtensionManager = managerHandler{}

// Bounds on what one extension registers.
const (
	maxExtensions    = 256
	maxNameBytes     = 256
	maxPluginsPerExt = 1000
)

func statusOf(err error) *gen.ExtensionStatus {
	if err != nil {
		return &gen.ExtensionStatus{Code: int32(gen.ExtensionCode_EXT_FAILED), Message: err.Error()}
	}
	return &gen.ExtensionStatus{Code: int32(gen.ExtensionCode_EXT_SUCCESS), Message: "OK"}
}

// Ping answers whatever is registered: an extension that was dropped silently still hears that the core is well.
func (managerHandler) Ping(context.Context) (*gen.ExtensionStatus, error) {
	return &gen.ExtensionStatus{Code: 0, Message: "pong"}, nil
}

// RegisterExtension takes an extension's tables; its other plugins have no use here.
func (s managerHandler) RegisterExtension(_ context.Context, info *gen.InternalExtensionInfo, registry gen.ExtensionRegistry) (*gen.ExtensionStatus, error) {
	if info == nil || info.Name == "" || len(info.Name) > maxNameBytes {
		return statusOf(registryBroadcast), nil
	}
	ext := &extension{name: info.Name, version: info.Version, sdkVersion: info.SdkVersion}
	if len(registry["table"]) > maxPluginsPerExt {
		return statusOf(registryBroadcast), nil
	}
	for name, routes := range registry["table"] {
		r, err := newRelation(name, routes, extensionTable)
		if err != nil {
			s.m.host.warn(fmt.Sprintf("Could not add extension %s: %v", info.Name, err))
			return statusOf(registryBroadcast), nil
		}
		r.call = s.m.overSocket(ext, name)
		ext.tables = append(ext.tables, r)
	}
	err := s.m.host.register(ext)
	if err == duplicateExtension {
		s.m.host.warn("Refusing to register duplicate extension " + info.Name)
	}
	status := statusOf(err)
	status.UUID = gen.ExtensionRouteUUID(ext.uuid)
	return status, nil
}

func (s managerHandler) DeregisterExtension(_ context.Context, uuid gen.ExtensionRouteUUID) (*gen.ExtensionStatus, error) {
	status := statusOf(s.m.host.deregister(int64(uuid)))
	if status.Code == 0 {
		status.UUID = uuid
	}
	return status, nil
}

func (s managerHandler) Extensions(context.Context) (gen.InternalExtensionList, error) {
	list := gen.InternalExtensionList{}
	for _, ext := range s.m.host.registered() {
		list[gen.ExtensionRouteUUID(ext.uuid)] = &gen.InternalExtensionInfo{Name: ext.name, Version: ext.version, SdkVersion: ext.sdkVersion}
	}
	return list, nil
}

func (s managerHandler) Options(context.Context) (gen.InternalOptionList, error) {
	list := gen.InternalOptionList{}
	for _, f := range s.m.host.flags() {
		list[f.name] = &gen.InternalOptionInfo{Value: f.value, DefaultValue: f.defaultValue, Type: f.typ}
	}
	return list, nil
}

// Query runs a statement for an extension. It may come while a table of that same extension is being asked.
func (s managerHandler) Query(ctx context.Context, sql string) (*gen.ExtensionResponse, error) {
	result, err := s.m.host.Query(ctx, sql)
	response := &gen.ExtensionResponse{Status: statusOf(err)}
	if err == nil {
		response.Response = result.Maps()
	}
	return response, nil
}

func (s managerHandler) GetQueryColumns(ctx context.Context, sql string) (*gen.ExtensionResponse, error) {
	columns, err := s.m.host.queryColumns(ctx, sql)
	return &gen.ExtensionResponse{Status: statusOf(err), Response: columns}, nil
}

// Call passes a request on to a table, of the core or of an extension.
func (s managerHandler) Call(ctx context.Context, registry, item string, request gen.ExtensionPluginRequest) (*gen.ExtensionResponse, error) {
	rows, err := s.m.host.call(ctx, registry, item, request)
	return &gen.ExtensionResponse{Status: statusOf(err), Response: rows}, nil
}

// Shutdown would end osqueryd. This host ends when its owner closes it, so it does nothing.
func (managerHandler) Shutdown(context.Context) error { return nil }

// DropSilently forgets an extension as osqueryd can after a missed ping: its tables and its name are gone, nobody tells
// it, and the manager goes on answering its pings. It says whether there was such an extension.
func (h *Host) DropSilently(name string) bool {
	for _, ext := range h.registered() {
		if ext.name == name {
			return h.deregister(ext.uuid) == nil
		}
	}
	return false
}

// WaitForExtension returns when an extension of that name is registered and answers pings, or with ctx's error.
func (h *Host) WaitForExtension(ctx context.Context, name string) error {
	for {
		for _, ext := range h.registered() {
			if ext.name == name && (ext.attached || h.serving().ping(ctx, ext) == nil) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("sqlhost: extension %s has not registered: %w", name, ctx.Err())
		case <-time.After(dialRetry):
		}
	}
}
