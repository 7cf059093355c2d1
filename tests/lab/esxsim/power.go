package main

import (
	"context"
	"log"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	poweredOn  = types.VirtualMachinePowerStatePoweredOn
	poweredOff = types.VirtualMachinePowerStatePoweredOff
	suspended  = types.VirtualMachinePowerStateSuspended
)

// PowerOnVMTask powers the VM on as a standalone host does.
func (m *machine) PowerOnVMTask(ctx *simulator.Context, _ *types.PowerOnVM_Task) soap.HasFault {
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{
		Returnval: m.host.startTask(ctx, m.Self, "powerOn", m.exclusively(m.powerOn)),
	}}
}

// PowerOffVMTask switches the VM off hard.
func (m *machine) PowerOffVMTask(ctx *simulator.Context, _ *types.PowerOffVM_Task) soap.HasFault {
	patience := time.Duration(0)
	if m.cancelQuestion() {
		patience = 2 * seconds(m.host.config.TimeoutS) // the power-on that asked is over in a moment
	}
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{
		Returnval: m.host.startTask(ctx, m.Self, "powerOff", m.patiently(patience, m.powerOff)),
	}}
}

// SuspendVMTask suspends the VM: it stops running and says so in its .vmx.
func (m *machine) SuspendVMTask(ctx *simulator.Context, _ *types.SuspendVM_Task) soap.HasFault {
	return &methods.SuspendVM_TaskBody{Res: &types.SuspendVM_TaskResponse{
		Returnval: m.host.startTask(ctx, m.Self, "suspend", m.exclusively(m.suspend)),
	}}
}

// ResetVMTask starts the guest anew, whatever it was at; the VM keeps its lock and its execution goes on.
func (m *machine) ResetVMTask(ctx *simulator.Context, _ *types.ResetVM_Task) soap.HasFault {
	return &methods.ResetVM_TaskBody{Res: &types.ResetVM_TaskResponse{
		Returnval: m.host.startTask(ctx, m.Self, "reset", m.exclusively(m.reset)),
	}}
}

// ShutdownGuest asks the guest to shut down; it does so at once, unless it hangs: then the request is taken and nothing follows.
func (m *machine) ShutdownGuest(ctx *simulator.Context, _ *types.ShutdownGuest) soap.HasFault {
	body := new(methods.ShutdownGuestBody)
	if body.Fault_ = m.needsGuest(); body.Fault_ != nil {
		return body
	}
	body.Res = new(types.ShutdownGuestResponse)
	if m.guestHangs() {
		return body
	}
	m.host.startTask(ctx, m.Self, "shutdownGuest", m.exclusively(func(t *taskRun) (types.AnyType, types.BaseMethodFault) {
		m.host.post(t.user, &types.VmGuestShutdownEvent{VmEvent: m.vmEvent("Guest OS shut down for %s on %s")})
		t.user = "" // the guest itself switches off
		return m.powerOff(t)
	}))
	return body
}

// RebootGuest asks the guest to reboot.
func (m *machine) RebootGuest(ctx *simulator.Context, _ *types.RebootGuest) soap.HasFault {
	body := new(methods.RebootGuestBody)
	if body.Fault_ = m.needsGuest(); body.Fault_ != nil {
		return body
	}
	body.Res = new(types.RebootGuestResponse)
	if !m.guestHangs() {
		m.host.startTask(ctx, m.Self, "rebootGuest", m.exclusively(m.reset))
	}
	return body
}

func (m *machine) needsGuest() *soap.Fault {
	m.mu.Lock()
	power := m.power
	m.mu.Unlock()
	if power != poweredOn {
		fault := &types.InvalidPowerState{RequestedState: poweredOn, ExistingState: power}
		return simulator.Fault(faultText(fault), fault)
	}
	if _, toolsRun := m.heartbeat(); !toolsRun {
		fault := new(types.ToolsUnavailable)
		return simulator.Fault(faultText(fault), fault)
	}
	return nil
}

func (m *machine) guestHangs() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.exec != nil && m.exec.guest.hung.Load()
}

type work = func(*taskRun) (types.AnyType, types.BaseMethodFault)

// exclusively lets one task at a time change the VM's state; another gets TaskInProgress.
func (m *machine) exclusively(job work) work { return m.patiently(0, job) }

// patiently is exclusively, but waits for a moment for the other task to end.
func (m *machine) patiently(patience time.Duration, job work) work {
	return func(t *taskRun) (types.AnyType, types.BaseMethodFault) {
		for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			m.mu.Lock()
			busy := m.busy
			if busy == nil {
				m.busy = &t.task.Self
			}
			m.mu.Unlock()
			if busy == nil {
				break
			}
			if time.Since(begun) >= patience {
				return nil, &types.TaskInProgress{Task: *busy}
			}
		}
		defer func() {
			m.mu.Lock()
			m.busy = nil
			m.mu.Unlock()
		}()
		return job(t)
	}
}

func (m *machine) pokeLock() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// dropLock ends the renewal and frees the lock, if the storage can be reached; if not, it ages.
func (m *machine) dropLock() {
	m.mu.Lock()
	lock, unlock := m.lock, m.unlock
	m.lock, m.unlock = nil, nil
	m.mu.Unlock()
	if lock == nil {
		return
	}
	unlock()
	ctx, cancel := context.WithTimeout(context.Background(), seconds(m.host.config.TimeoutS))
	defer cancel()
	if err := lock.release(ctx); err != nil {
		log.Printf("%s: the lock could not be freed, it will age: %s", m.displayName(), err)
	}
}

// lockTaken ends the VM, or asks first: the host has read that another host has its lock.
func (m *machine) lockTaken(lock *heldLock) {
	m.cancelQuestion()
	m.mu.Lock()
	if m.lock != lock {
		m.mu.Unlock()
		return
	}
	e, unlock, asks := m.exec, m.unlock, m.host.config.QuestionOnLostLock
	m.lock, m.unlock = nil, nil
	if !asks {
		m.exec = nil
	}
	m.mu.Unlock()
	unlock()
	lock.forget()
	switch {
	case e == nil: // it was only about to be powered on
	case asks:
		m.askLockLost(e)
	default:
		m.endWithoutLock(e)
	}
}

// endWithoutLock ends a VM, which is the machine's no more, whose lock another host has.
func (m *machine) endWithoutLock(e *execution) {
	e.stop("lock_taken", 0)
	log.Printf("%s: killed, its lock was taken by another host", e.vm)
	m.mu.Lock()
	m.power = poweredOff
	m.mu.Unlock()
	m.showPower()
	text := "The lock protecting the files of %s on %s has been lost; the virtual machine was terminated"
	m.host.post("", &types.VmMessageErrorEvent{VmEvent: m.vmEvent(text), Message: "msg.hbacommon.locklost"})
	m.host.post("", &types.VmPoweredOffEvent{VmEvent: m.vmEvent("%s on %s is powered off")})
}

// lose ends the VM as a machine's death does: nothing is put in order.
func (m *machine) lose(why string) {
	m.mu.Lock()
	e, unlock := m.exec, m.unlock
	m.exec, m.unlock = nil, nil
	m.mu.Unlock()
	if unlock != nil {
		unlock()
	}
	if e != nil {
		e.stop(why, 0)
	}
}

// halt stops the VM in order and frees its lock. false: it did not run.
func (m *machine) halt(why string, then types.VirtualMachinePowerState) bool {
	m.mu.Lock()
	e := m.exec
	m.exec = nil
	m.mu.Unlock()
	if e == nil {
		return false
	}
	grace := time.Duration(0)
	if m.host.session.Connected() {
		grace = seconds(m.host.config.TimeoutS)
	}
	e.stop(why, grace)
	m.dropLock()
	m.mu.Lock()
	m.power = then
	m.mu.Unlock()
	return true
}

func (m *machine) powerOff(t *taskRun) (types.AnyType, types.BaseMethodFault) {
	m.mu.Lock()
	power, asked := m.power, m.question
	m.mu.Unlock()
	if asked != nil {
		return nil, &types.QuestionPending{Text: asked.info.Text}
	}
	if power == suspended && m.volume.accessible() {
		m.setCheckpoint("")
		m.mu.Lock()
		m.power = poweredOff
		m.mu.Unlock()
	} else if power != poweredOn || !m.halt("power_off", poweredOff) {
		return nil, &types.InvalidPowerState{RequestedState: poweredOff, ExistingState: power}
	}
	m.showPower()
	m.host.post(t.user, &types.VmPoweredOffEvent{VmEvent: m.vmEvent("%s on %s is powered off")})
	return nil, nil
}

func (m *machine) suspend(t *taskRun) (types.AnyType, types.BaseMethodFault) {
	m.mu.Lock()
	power := m.power
	m.mu.Unlock()
	if power != poweredOn {
		return nil, &types.InvalidPowerState{RequestedState: suspended, ExistingState: power}
	}
	if !m.volume.accessible() {
		return nil, m.volume.inaccessible()
	}
	if err := m.writeMemory(); err != nil {
		return nil, &types.FileFault{File: m.volume.dsPath(m.memoryFile())}
	}
	if !m.halt("suspend", suspended) {
		m.setCheckpoint("")
		return nil, new(types.InvalidState)
	}
	m.showPower()
	m.host.post(t.user, &types.VmSuspendedEvent{VmEvent: m.vmEvent("%s on %s is suspended")})
	return nil, nil
}

func (m *machine) reset(t *taskRun) (types.AnyType, types.BaseMethodFault) {
	m.mu.Lock()
	power := m.power
	if m.exec != nil {
		m.since = time.Now()
		m.exec.guest.restart()
		time.AfterFunc(guestBoot+10*time.Millisecond, m.showPower)
	}
	m.mu.Unlock()
	if power != poweredOn {
		return nil, &types.InvalidPowerState{RequestedState: poweredOn, ExistingState: power}
	}
	m.showPower()
	m.host.post(t.user, &types.VmResettingEvent{VmEvent: m.vmEvent("%s on %s is reset")})
	return nil, nil
}

// setCheckpoint notes in the .vmx that the VM is suspended ("" that it is not).
func (m *machine) setCheckpoint(state string) {
	file, err := readVMX(m.volume.files, m.relative)
	if err == nil {
		file.set("checkpoint.vmState", state)
		err = file.save()
	}
	if err != nil {
		log.Printf("%s: %s", m.displayName(), err)
	}
}
