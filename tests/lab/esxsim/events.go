package main

import (
	"fmt"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// post records an event on behalf of a user; "" is the host itself.
func (h *host) post(user string, event types.BaseEvent) {
	e := event.GetEvent()
	e.Host = &types.HostEventArgument{EntityEventArgument: types.EntityEventArgument{Name: h.config.Name}, Host: h.system.Self}
	e.ComputeResource = &types.ComputeResourceEventArgument{
		EntityEventArgument: types.EntityEventArgument{Name: h.config.Name}, ComputeResource: h.compute.Self,
	}
	e.Datacenter = &types.DatacenterEventArgument{
		EntityEventArgument: types.EntityEventArgument{Name: h.datacenter.Name}, Datacenter: h.datacenter.Self,
	}
	ctx := h.as(user)
	manager := h.registry.EventManager()
	h.registry.WithLock(ctx, manager, func() {
		manager.PostEvent(ctx, &types.PostEvent{EventToPost: event})
	})
}

// vmEvent is the part that all events of a VM share.
func (m *machine) vmEvent(text string) types.VmEvent {
	return types.VmEvent{Event: types.Event{
		Vm:                   &types.VmEventArgument{EntityEventArgument: types.EntityEventArgument{Name: m.displayName()}, Vm: m.Self},
		FullFormattedMessage: fmt.Sprintf(text, m.displayName(), m.host.config.Name),
	}}
}

// storageEvent records that the path to the LUN came or went.
func (h *host) storageEvent(connected bool) {
	device := h.session.Device()
	if device == nil || !h.lostBefore.Swap(true) && connected {
		return // the first login is no recovery
	}
	event := &types.EventEx{EventTypeId: "esx.problem.storage.connectivity.lost", Severity: string(types.EventEventSeverityError)}
	text := "Lost connectivity to storage device %s. Path %s:C0:T0:L%d is down. Affected datastores: \"%s\"."
	if connected {
		event.EventTypeId, event.Severity = "esx.clear.storage.connectivity.restored", string(types.EventEventSeverityInfo)
		text = "Connectivity to storage device %s restored. Path %s:C0:T0:L%d is active again. Affected datastores: \"%s\"."
	}
	event.FullFormattedMessage = fmt.Sprintf(text, device.CanonicalName, iscsiHBA, h.config.ISCSI.LUN, h.config.Datastore.Name)
	event.Message = event.FullFormattedMessage
	event.ObjectType, event.ObjectId, event.ObjectName = "HostSystem", h.system.Self.Value, h.config.Name
	h.post("", event)
}

// eventManager adds QueryEvents, which the simulator lacks for ESX.
type eventManager struct {
	*simulator.EventManager
}

func (m *eventManager) QueryEvents(ctx *simulator.Context, req *types.QueryEvents) soap.HasFault {
	body := new(methods.QueryEventsBody)
	created, ok := m.CreateCollectorForEvents(ctx, &types.CreateCollectorForEvents{Filter: req.Filter}).(*methods.CreateCollectorForEventsBody)
	if !ok || created.Fault_ != nil {
		body.Fault_ = created.Fault_
		return body
	}
	collector := ctx.Session.Get(created.Res.Returnval).(*simulator.EventHistoryCollector)
	read := collector.ReadNextEvents(ctx, &types.ReadNextEvents{This: created.Res.Returnval, MaxCount: 1000}).(*methods.ReadNextEventsBody)
	collector.DestroyCollector(ctx, &types.DestroyCollector{This: created.Res.Returnval})
	body.Res = &types.QueryEventsResponse{Returnval: read.Res.Returnval}
	return body
}

var _ mo.Reference = (*eventManager)(nil)
