package main

import (
	"encoding/json"
	"log"
	"path/filepath"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// hostSystem answers for the HostSystem.
type hostSystem struct {
	*simulator.HostSystem
	host *host
}

func (h *host) inMaintenance() (yes bool) {
	h.with(h.system, func() { yes = h.system.Runtime.InMaintenanceMode })
	return yes
}

// keptMode is what the host keeps on disk of its maintenance mode, which outlasts a restart.
type keptMode struct {
	InMaintenance bool `json:"in_maintenance"`
}

func (h *host) modePath() string { return filepath.Join(h.config.StateDir, "mode.json") }

func (h *host) loadMaintenance() error {
	var kept keptMode
	if err := readState(h.modePath(), &kept); err != nil {
		return err
	}
	if kept.InMaintenance {
		h.showMaintenance(true)
	}
	return nil
}

func (h *host) setMaintenance(on bool) types.BaseMethodFault {
	content, err := json.Marshal(keptMode{on})
	if err == nil {
		err = replaceFile(h.modePath(), append(content, '\n'), 0o600)
	}
	if err != nil {
		log.Printf("its maintenance mode cannot be kept: %v", err)
		return new(types.HostConfigFault)
	}
	h.showMaintenance(on)
	return nil
}

func (h *host) showMaintenance(on bool) {
	ctx := h.as("")
	h.registry.WithLock(ctx, h.system, func() {
		h.registry.Update(ctx, h.system, []types.PropertyChange{
			{Name: "runtime.inMaintenanceMode", Val: on}, {Name: "summary.runtime.inMaintenanceMode", Val: on},
		})
	})
}

func (h *host) runningVMs() int {
	count := 0
	for _, m := range h.machines() {
		if _, _, on := m.usage(); on {
			count++
		}
	}
	return count
}

// hostEvent is the part that all events of the host share; the message is made by the event manager.
func hostEvent() types.HostEvent { return types.HostEvent{} }

// EnterMaintenanceModeTask is over when no VM runs any more; it stops none itself, as on a host without vCenter.
func (s *hostSystem) EnterMaintenanceModeTask(ctx *simulator.Context, req *types.EnterMaintenanceMode_Task) soap.HasFault {
	return &methods.EnterMaintenanceMode_TaskBody{Res: &types.EnterMaintenanceMode_TaskResponse{
		Returnval: s.host.startTask(ctx, s.Self, "enterMaintenanceMode", func(t *taskRun) (types.AnyType, types.BaseMethodFault) {
			if s.host.inMaintenance() {
				return nil, new(types.InvalidState)
			}
			s.host.post(t.user, &types.EnteringMaintenanceModeEvent{HostEvent: hostEvent()})
			for begun := time.Now(); s.host.runningVMs() > 0; time.Sleep(200 * time.Millisecond) {
				if t.cancelled() {
					return nil, new(types.RequestCanceled)
				}
				if req.Timeout > 0 && time.Since(begun) > time.Duration(req.Timeout)*time.Second {
					return nil, new(types.Timedout)
				}
			}
			if fault := s.host.setMaintenance(true); fault != nil {
				return nil, fault
			}
			s.host.post(t.user, &types.EnteredMaintenanceModeEvent{HostEvent: hostEvent()})
			return nil, nil
		}),
	}}
}

// ExitMaintenanceModeTask lets VMs run again.
func (s *hostSystem) ExitMaintenanceModeTask(ctx *simulator.Context, _ *types.ExitMaintenanceMode_Task) soap.HasFault {
	return &methods.ExitMaintenanceMode_TaskBody{Res: &types.ExitMaintenanceMode_TaskResponse{
		Returnval: s.host.startTask(ctx, s.Self, "exitMaintenanceMode", func(t *taskRun) (types.AnyType, types.BaseMethodFault) {
			if !s.host.inMaintenance() {
				return nil, new(types.InvalidState)
			}
			if fault := s.host.setMaintenance(false); fault != nil {
				return nil, fault
			}
			s.host.post(t.user, &types.ExitMaintenanceModeEvent{HostEvent: hostEvent()})
			return nil, nil
		}),
	}}
}

// ShutdownHostTask ends the host in order: its VMs are switched off, their locks freed.
func (s *hostSystem) ShutdownHostTask(ctx *simulator.Context, req *types.ShutdownHost_Task) soap.HasFault {
	return &methods.ShutdownHost_TaskBody{Res: &types.ShutdownHost_TaskResponse{
		Returnval: s.host.startTask(ctx, s.Self, "shutdown", func(t *taskRun) (types.AnyType, types.BaseMethodFault) {
			return nil, s.host.goDown(t.user, req.Force, false)
		}),
	}}
}

// RebootHostTask does the same and starts again, with a new boot time.
func (s *hostSystem) RebootHostTask(ctx *simulator.Context, req *types.RebootHost_Task) soap.HasFault {
	return &methods.RebootHost_TaskBody{Res: &types.RebootHost_TaskResponse{
		Returnval: s.host.startTask(ctx, s.Self, "reboot", func(t *taskRun) (types.AnyType, types.BaseMethodFault) {
			return nil, s.host.goDown(t.user, req.Force, true)
		}),
	}}
}

func (h *host) goDown(user string, force, reboot bool) types.BaseMethodFault {
	if !force && !h.inMaintenance() {
		return new(types.InvalidState)
	}
	log.Printf("%s asks the host to go down (reboot: %v)", user, reboot)
	reason := "shutdown"
	if reboot {
		reason = "reboot"
	}
	h.post(user, &types.HostShutdownEvent{HostEvent: hostEvent(), Reason: reason})
	var all sync.WaitGroup
	for _, m := range h.machines() {
		all.Add(1)
		go func() {
			defer all.Done()
			if m.halt("host_"+reason, poweredOff) {
				m.showPower()
				h.post("", &types.VmPoweredOffEvent{VmEvent: m.vmEvent("%s on %s is powered off")})
			}
		}()
	}
	all.Wait()
	time.AfterFunc(500*time.Millisecond, func() { // the task's end can still be read
		select {
		case h.shutdown <- reboot:
		default:
		}
	})
	return nil
}
