package main

import (
	"log"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// vmFolder answers for the host's VM folder.
type vmFolder struct {
	*simulator.Folder
	host *host
}

// RegisterVMTask registers a .vmx.
func (f *vmFolder) RegisterVMTask(ctx *simulator.Context, req *types.RegisterVM_Task) soap.HasFault {
	return &methods.RegisterVM_TaskBody{Res: &types.RegisterVM_TaskResponse{
		Returnval: f.host.startTask(ctx, f.Self, "registerVm", func(t *taskRun) (types.AnyType, types.BaseMethodFault) {
			return f.host.register(t.user, req)
		}),
	}}
}

func (h *host) register(user string, req *types.RegisterVM_Task) (types.AnyType, types.BaseMethodFault) {
	if req.AsTemplate || req.Pool == nil {
		return nil, &types.InvalidArgument{InvalidProperty: "pool"}
	}
	volume, relative, fault := h.locate(req.Path)
	if fault != nil {
		return nil, fault
	}
	if !strings.HasSuffix(relative, ".vmx") {
		return nil, &types.InvalidVmConfig{Property: "path"}
	}
	if !volume.accessible() {
		return nil, volume.inaccessible()
	}
	file, err := readVMX(volume.files, relative)
	if err != nil {
		return nil, fileFault(req.Path, err)
	}
	entry, known, err := h.registered.add(volume.dsPath(relative))
	if known != 0 {
		return nil, &types.AlreadyExists{Name: strconv.Itoa(known)} // ESXi names the VM's number
	}
	if err != nil {
		log.Printf("registrations: %s", err)
		return nil, &types.HostConfigFault{}
	}
	if req.Name != "" && req.Name != file.get("displayName") {
		file.set("displayName", req.Name)
		if err := file.save(); err != nil {
			_ = h.registered.remove(entry.ID)
			return nil, fileFault(req.Path, err)
		}
	}
	m := h.addMachine(entry)
	h.post(user, &types.VmRegisteredEvent{VmEvent: m.vmEvent("Registered %s on %s")})
	return m.Self, nil
}

// UnregisterVM takes the VM out of the inventory; its files stay.
func (m *machine) UnregisterVM(ctx *simulator.Context, _ *types.UnregisterVM) soap.HasFault {
	body := new(methods.UnregisterVMBody)
	m.mu.Lock()
	power, busy, removed := m.power, m.busy, m.removed
	m.removed = removed || (power != poweredOn && busy == nil)
	m.mu.Unlock()
	var fault types.BaseMethodFault
	switch {
	case removed:
		fault = &types.ManagedObjectNotFound{Obj: m.Self}
	case busy != nil:
		fault = &types.TaskInProgress{Task: *busy}
	case power == poweredOn:
		fault = &types.InvalidPowerState{RequestedState: poweredOff, ExistingState: power}
	}
	if fault != nil {
		body.Fault_ = simulator.Fault(faultText(fault), fault)
		return body
	}
	event := &types.VmRemovedEvent{VmEvent: m.vmEvent("Removed %s on %s")}
	m.host.dropMachine(m)
	m.host.post(userOf(ctx), event)
	body.Res = new(types.UnregisterVMResponse)
	return body
}

// searchIndex finds VMs also when one of them has no configuration, at which the simulator's own stumbles.
type searchIndex struct {
	*simulator.SearchIndex
	host *host
}

func (s *searchIndex) FindByDatastorePath(_ *simulator.Context, req *types.FindByDatastorePath) soap.HasFault {
	body := &methods.FindByDatastorePathBody{Res: new(types.FindByDatastorePathResponse)}
	if volume, relative, fault := s.host.locate(req.Path); fault == nil {
		for _, m := range s.host.machines() {
			if m.volume == volume && m.relative == relative {
				body.Res.Returnval = &m.Self
			}
		}
	}
	return body
}

func (s *searchIndex) FindByUuid(_ *simulator.Context, req *types.FindByUuid) soap.HasFault {
	body := &methods.FindByUuidBody{Res: new(types.FindByUuidResponse)}
	if !req.VmSearch {
		if strings.EqualFold(req.Uuid, s.host.config.id.String()) {
			body.Res.Returnval = &s.host.system.Self
		}
		return body
	}
	for _, m := range s.host.machines() {
		s.host.with(m, func() {
			if m.Config == nil {
				return
			}
			id := m.Config.Uuid
			if req.InstanceUuid != nil && *req.InstanceUuid {
				id = m.Config.InstanceUuid
			}
			if strings.EqualFold(id, req.Uuid) {
				body.Res.Returnval = &m.Self
			}
		})
	}
	return body
}
