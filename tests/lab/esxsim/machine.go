package main

import (
	"context"
	"fmt"
	"log"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// machine is a registered VM. Its API object comes first, for the simulator; that is guarded by the registry's lock of the object,
// the rest by mu.
type machine struct {
	mo.VirtualMachine
	host     *host
	id       int
	volume   *volume
	relative string // the .vmx, below the volume

	mu       sync.Mutex
	name     string
	loaded   bool // the .vmx was read since the host started
	memory   int64
	cpus     int64
	reserved int64  // MiB
	noTools  bool   // no VMware Tools are installed in the guest
	address  string // that the guest has, as VMware Tools tell it
	removed  bool
	busy     *types.ManagedObjectReference // the task that changes its power state
	power    types.VirtualMachinePowerState
	question *question
	exec     *execution
	lock     *heldLock
	unlock   context.CancelFunc // ends the lock's renewal
	poke     chan struct{}
	since    time.Time // power-on
	io       ioHistory
}

func (m *machine) displayName() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.name
}

func (m *machine) dsPath() string { return m.volume.dsPath(m.relative) }

// addMachine puts a registered VM into the inventory. Its files are read when its datastore is there.
func (h *host) addMachine(entry registration) *machine {
	m := &machine{
		host: h, id: entry.ID, power: types.VirtualMachinePowerStatePoweredOff, poke: make(chan struct{}, 1),
	}
	volume, relative, fault := h.locate(entry.Path)
	if fault != nil { // its datastore is not configured any more: leave it out, keep the registration
		log.Printf("VM %d: %s: %s", entry.ID, entry.Path, faultText(fault))
		return nil
	}
	m.volume, m.relative = volume, relative
	m.name = volume.mountPath() + "/" + relative // what ESXi shows for a VM whose files it cannot read
	m.Self = types.ManagedObjectReference{Type: "VirtualMachine", Value: strconv.Itoa(entry.ID)}
	m.Parent = &h.vmFolder.Self
	m.ResourcePool = &h.pool.Self
	if h.compute.EnvironmentBrowser != nil {
		m.EnvironmentBrowser = *h.compute.EnvironmentBrowser
	}
	m.describeUnread()
	h.mu.Lock()
	h.vms[entry.ID] = m
	h.mu.Unlock()
	ctx := h.as("")
	h.registry.AppendReference(ctx, h.vmFolder, &h.vmFolder.ChildEntity, m.Self)
	h.registry.AppendReference(ctx, h.system, &h.system.Vm, m.Self)
	h.registry.AppendReference(ctx, h.pool, &h.pool.Vm, m.Self)
	h.registry.AppendReference(ctx, volume.object, &volume.object.Vm, m.Self)
	h.registry.PutEntity(h.vmFolder, m)
	if volume.accessible() {
		m.load()
	}
	return m
}

func (h *host) dropMachine(m *machine) {
	ctx := h.as("")
	h.mu.Lock()
	delete(h.vms, m.id)
	h.mu.Unlock()
	if err := h.registered.remove(m.id); err != nil {
		log.Printf("registrations: %s", err)
	}
	h.registry.RemoveReference(ctx, h.vmFolder, &h.vmFolder.ChildEntity, m.Self)
	h.registry.RemoveReference(ctx, h.system, &h.system.Vm, m.Self)
	h.registry.RemoveReference(ctx, h.pool, &h.pool.Vm, m.Self)
	h.registry.RemoveReference(ctx, m.volume.object, &m.volume.object.Vm, m.Self)
	h.registry.Remove(ctx, m.Self)
}

// load reads the VM's files and describes it anew; the caller has seen that the datastore is there.
func (m *machine) load() {
	file, err := readVMX(m.volume.files, m.relative)
	if err != nil {
		log.Printf("VM %d: %s", m.id, err)
		m.showConnection()
		return
	}
	m.mu.Lock()
	m.loaded = true
	m.name = file.get("displayName")
	m.memory, m.cpus = file.number("memSize", 32), file.number("numvcpus", 1)
	m.reserved = file.number("sched.mem.min", 0)
	m.noTools = strings.EqualFold(file.get("libreha.tools"), "false")
	m.address = file.get("libreha.guest_address")
	if m.power != types.VirtualMachinePowerStatePoweredOn {
		m.power = types.VirtualMachinePowerStatePoweredOff
		if file.get("checkpoint.vmState") != "" {
			m.power = types.VirtualMachinePowerStateSuspended
		}
	}
	m.mu.Unlock()
	m.describe(file)
	m.showPower()
}

// keepInventory reads VMs' files again when the shared datastore comes back.
func (h *host) keepInventory(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.reload:
		}
		for _, m := range h.machines() {
			m.mu.Lock()
			loaded := m.loaded
			m.mu.Unlock()
			if !loaded && m.volume.accessible() {
				m.load()
			}
		}
	}
}

// storageChanged is told when the shared datastore came or went.
func (m *machine) storageChanged(bool) {
	if !m.volume.local {
		m.showConnection()
	}
}

// usage is the memory (MiB) and CPU (MHz) that the VM takes while it runs.
func (m *machine) usage() (mib, mhz int64, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.memory, m.cpus * int64(m.host.config.CPUMHz) / 10, m.power == types.VirtualMachinePowerStatePoweredOn
}

// newExecutionID identifies one life of a VM.
func newExecutionID() [16]byte { return uuid.New() }

// extent is which part of the LUN is the VM's disk; ok is false for a VM without one.
func extentOf(file *vmxFile) (extent uint32, ok bool, err error) {
	value := file.get("libreha.extent")
	if value == "" {
		return 0, false, nil
	}
	number, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return 0, false, fmt.Errorf("libreha.extent: %w", err)
	}
	return uint32(number), true, nil
}
