package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/types"
)

// powerOn is the task: checks, lock, question, then the guest runs.
func (m *machine) powerOn(t *taskRun) (types.AnyType, types.BaseMethodFault) {
	m.mu.Lock()
	power, removed := m.power, m.removed
	m.mu.Unlock()
	switch {
	case removed:
		return nil, &types.ManagedObjectNotFound{Obj: m.Self}
	case power == poweredOn:
		return nil, &types.InvalidPowerState{RequestedState: poweredOn, ExistingState: power}
	case m.host.inMaintenance():
		return nil, new(types.InvalidState)
	case !m.volume.accessible():
		return nil, m.volume.inaccessible()
	}
	file, err := readVMX(m.volume.files, m.relative)
	if err != nil {
		return nil, fileFault(m.dsPath(), err)
	}
	if fault := m.enoughMemory(file); fault != nil {
		return nil, fault
	}
	if lacks := m.host.lacksFor(file); lacks != "" {
		return nil, &types.GenericVmConfigFault{Reason: lacks}
	}
	if fault := m.readMemory(file); fault != nil {
		return nil, fault
	}
	e := &execution{
		id: newExecutionID(), vm: file.get("displayName"), host: m.host.config.Name, log: m.host.log, every: m.host.config.recordEvery(),
	}
	locked, fault := m.takeLock(file, e)
	if fault != nil {
		return nil, fault
	}
	if fault := m.settleLocation(t, file); fault != nil {
		m.dropLock()
		return nil, fault
	}
	if e.disk != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		err := e.findEnd(ctx)
		cancel()
		if err != nil {
			m.dropLock()
			return nil, m.diskFault(err)
		}
	}
	m.host.post(t.user, &types.VmStartingEvent{VmEvent: m.vmEvent("%s on %s is starting")})
	m.mu.Lock()
	if locked && m.lock == nil { // taken in the meantime
		m.mu.Unlock()
		return nil, &types.FileLocked{FileFault: types.FileFault{File: m.dsPath()}}
	}
	m.exec, m.power, m.since = e, poweredOn, time.Now()
	e.start()
	m.mu.Unlock()
	m.load()
	m.host.post(t.user, &types.VmPoweredOnEvent{VmEvent: m.vmEvent("%s on %s is powered on")})
	return nil, nil
}

// takeLock takes the lease of the VM's extent and keeps it renewed. A VM without an extent has no disk on the LUN, and no lock (false).
func (m *machine) takeLock(file *vmxFile, e *execution) (bool, types.BaseMethodFault) {
	extent, has, err := extentOf(file)
	if err != nil {
		return false, &types.GenericVmConfigFault{Reason: err.Error()}
	}
	if !has || m.volume.local {
		return false, nil
	}
	e.extent = extent
	if !strings.EqualFold(file.get("libreha.workload"), "false") {
		e.disk = m.host.session
	}
	lock, err := m.host.locks.acquire(2*seconds(m.host.config.TimeoutS), extent, e.id)
	if err != nil {
		return false, m.diskFault(err)
	}
	keep, unlock := context.WithCancel(context.Background())
	m.mu.Lock()
	m.lock, m.unlock = lock, unlock
	m.mu.Unlock()
	go keepLock(keep, lock, m.poke, seconds(m.host.config.TimeoutS), func(lapsed bool) {
		if e.lapsed.Swap(lapsed) != lapsed {
			log.Printf("%s: lock lapsed: %v", e.vm, lapsed)
		}
	}, func() { m.lockTaken(lock) })
	return true, nil
}

// settleLocation asks the moved-or-copied question if the .vmx was last used elsewhere, and notes this place in it.
func (m *machine) settleLocation(t *taskRun, file *vmxFile) types.BaseMethodFault {
	here := locationUUID(m.host.config.id, m.volume.mountPath()+"/"+m.relative)
	location, known := parseUUID(file.get("uuid.location"))
	bios, hasBios := parseUUID(file.get("uuid.bios"))
	if known && hasBios && location != here && location != bios && m.host.config.QuestionOnOtherHost {
		answer, fault := m.askMoved(t)
		if fault != nil {
			return fault
		}
		if answer == answerCopied {
			hasBios = false
			file.set("vc.uuid", vmwareUUID(uuid.New()))
		}
	}
	if !hasBios {
		file.set("uuid.bios", vmwareUUID(uuid.New())) // not the location: equal ones say that the VM was never placed
	}
	if file.get("checkpoint.vmState") != "" {
		file.set("checkpoint.vmState", "")
	} else if known && hasBios && location == here {
		return nil
	}
	file.set("uuid.location", vmwareUUID(here))
	if !m.volume.accessible() {
		return m.volume.inaccessible()
	}
	if err := file.save(); err != nil {
		return fileFault(m.dsPath(), err)
	}
	return nil
}

// enoughMemory refuses a VM whose memory reservation does not fit beside those of the running ones.
func (m *machine) enoughMemory(file *vmxFile) types.BaseMethodFault {
	wanted, free := file.number("sched.mem.min", 0), m.host.config.MemoryMiB
	for _, other := range m.host.machines() {
		other.mu.Lock()
		if other.power == poweredOn {
			free -= other.reserved
		}
		other.mu.Unlock()
	}
	if wanted > free {
		return &types.InsufficientMemoryResourcesFault{Unreserved: free << 20, Requested: wanted << 20}
	}
	return nil
}

// diskFault is how a failed lock or read shows in a task.
func (m *machine) diskFault(err error) types.BaseMethodFault {
	var locked lockedError
	switch {
	case errors.As(err, &locked), errors.Is(err, errMiscompare):
		log.Printf("%s: %s", m.displayName(), err)
		return m.fileLocked(locked.by.Host)
	case errors.Is(err, errDisconnected), errors.Is(err, errLost), errors.Is(err, errLate), errors.Is(err, context.DeadlineExceeded):
		return m.volume.inaccessible()
	}
	return &types.GenericVmConfigFault{Reason: err.Error()}
}

// fileLocked names the lock's holder where it is known, as ESXi does.
func (m *machine) fileLocked(holder string) *types.FileLocked {
	fault := &types.FileLocked{FileFault: types.FileFault{File: m.dsPath()}}
	if holder != "" {
		text := fmt.Sprintf("File %s is being locked by a consumer on host %s with exclusive lock.", m.dsPath(), holder)
		fault.FaultMessage = []types.LocalizableMessage{{Key: "msg.fileio.lock", Message: text}}
	}
	return fault
}

func fileFault(path string, err error) types.BaseMethodFault {
	if errors.Is(err, os.ErrNotExist) {
		return &types.FileNotFound{FileFault: types.FileFault{File: path}}
	}
	return &types.InvalidVmConfig{Property: err.Error()}
}
