package main

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// sessionTable knows when each API session was used last.
type sessionTable struct {
	idle time.Duration

	mu   sync.Mutex
	used map[string]time.Time
}

// touch notes a use; false when the session had expired. fresh is true at its first use after the login.
func (t *sessionTable) touch(key string, login time.Time) (alive, fresh bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.used == nil {
		t.used = map[string]time.Time{}
	}
	last, known := t.used[key]
	if !known {
		last = login
	}
	if now.Sub(last) > t.idle {
		delete(t.used, key)
		return false, false
	}
	t.used[key] = now
	return true, !known
}

func (t *sessionTable) expired() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var keys []string
	for key, last := range t.used {
		if time.Since(last) > t.idle {
			keys = append(keys, key)
			delete(t.used, key)
		}
	}
	return keys
}

func (h *host) endSession(key string) {
	h.registry.SessionManager().TerminateSession(h.as(""), &types.TerminateSession{SessionId: []string{key}})
}

// sweepSessions ends sessions that nobody uses any more.
func (h *host) sweepSessions(ctx context.Context) {
	ticker := time.NewTicker(min(time.Minute, max(h.sessions.idle, time.Second)))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, key := range h.sessions.expired() {
				h.endSession(key)
			}
		}
	}
}

// handle sees every call before the simulator does. It ends idle sessions, lets nobody in but by user name and password, and puts
// this host's own objects into each new session, where the simulator looks first.
func (h *host) handle(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	switch method.Name {
	case "LoginByToken", "LoginExtensionByCertificate", "LoginBySSPI", "CloneSession", "ImpersonateUser":
		return nil, new(types.NotSupported)
	}
	if ctx.Session == nil {
		if !public(method) {
			return nil, notAuthenticated(method.This)
		}
		return nil, nil
	}
	alive, fresh := h.sessions.touch(ctx.Session.Key, ctx.Session.LoginTime)
	if !alive {
		h.endSession(ctx.Session.Key)
		return nil, notAuthenticated(method.This)
	}
	if fresh {
		for _, object := range h.wrappers {
			ctx.Session.Registry.Put(object)
		}
		if collector, is := ctx.Session.Get(esx.ServiceContent.PropertyCollector).(*simulator.PropertyCollector); is && !h.mayEverything(ctx.Session.UserName) {
			ctx.Session.Registry.Put(&propertyCollector{PropertyCollector: collector, host: h})
		}
	}
	for _, v := range h.known() { // a datastore that was mounted since the login, too
		if reference := v.object.Self; fresh || ctx.Session.Registry.Get(reference) == nil {
			ctx.Session.Registry.Put(&datastoreObject{Datastore: v.object, host: h})
		}
	}
	return nil, h.authorize(ctx, method)
}

func notAuthenticated(object types.ManagedObjectReference) types.BaseMethodFault {
	return &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &object, PrivilegeId: "System.View"}}
}

// public are the calls that need no session: the service's description, and logging in.
func public(method *simulator.Method) bool {
	open := func(ref types.ManagedObjectReference) bool {
		return ref == vim25.ServiceInstance || ref.Type == "SessionManager"
	}
	switch body := method.Body.(type) {
	case *types.Login, *types.RetrieveServiceContent, *types.CurrentTime:
		return true
	case *types.RetrieveProperties:
		return all(body.SpecSet, open)
	case *types.RetrievePropertiesEx:
		return all(body.SpecSet, open)
	}
	if method.Name == "Fetch" { // its type is internal to govmomi
		if this := reflect.Indirect(reflect.ValueOf(method.Body)).FieldByName("This"); this.IsValid() {
			ref, ok := this.Interface().(types.ManagedObjectReference)
			return ok && open(ref)
		}
	}
	return false
}

func all(specs []types.PropertyFilterSpec, open func(types.ManagedObjectReference) bool) bool {
	for _, spec := range specs {
		for _, object := range spec.ObjectSet {
			if !open(object.Obj) || object.SelectSet != nil {
				return false
			}
		}
	}
	return true
}
