package main

import (
	"path"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// describeUnread is what a host shows of a VM whose files it has not read: no configuration.
func (m *machine) describeUnread() {
	m.Name = m.name
	m.Capability = types.VirtualMachineCapability{MultipleSnapshotsSupported: true, SnapshotOperationsSupported: true}
	m.Datastore = []types.ManagedObjectReference{m.volume.object.Self}
	m.Runtime = types.VirtualMachineRuntimeInfo{
		Host:                &m.host.system.Self,
		ConnectionState:     types.VirtualMachineConnectionStateInaccessible,
		PowerState:          types.VirtualMachinePowerStatePoweredOff,
		FaultToleranceState: types.VirtualMachineFaultToleranceStateNotConfigured, // left empty, pyVmomi cannot parse it
		RecordReplayState:   types.VirtualMachineRecordReplayStateInactive,
		CleanPowerOff:       types.NewBool(false),
		Paused:              types.NewBool(false),
	}
	m.Guest = &types.GuestInfo{}
	m.GuestHeartbeatStatus = types.ManagedEntityStatusGray
	m.Summary = types.VirtualMachineSummary{
		Vm: &m.Self, Runtime: m.Runtime, OverallStatus: types.ManagedEntityStatusGreen,
		Guest:      &types.VirtualMachineGuestSummary{},
		Config:     types.VirtualMachineConfigSummary{Name: m.name, VmPathName: m.dsPath()},
		QuickStats: types.VirtualMachineQuickStats{GuestHeartbeatStatus: types.ManagedEntityStatusGray},
	}
	m.guestView(types.ManagedEntityStatusGray, false)
}

// describe shows what the .vmx says.
func (m *machine) describe(file *vmxFile) {
	config := m.configOf(file)
	devices, networks, datastores := m.devicesOf(file)
	config.Hardware.Device = devices
	layout := m.layoutOf(file, devices)
	var disks, cards int32
	for _, device := range devices {
		switch device.(type) {
		case *types.VirtualDisk:
			disks++
		case types.BaseVirtualEthernetCard:
			cards++
		}
	}
	ctx := m.host.as("")
	m.host.registry.WithLock(ctx, m, func() {
		m.Name = config.Name
		m.Config = config
		m.Network, m.Datastore = networks, datastores
		m.LayoutEx = layout
		m.Summary.Config = types.VirtualMachineConfigSummary{
			Name: config.Name, VmPathName: config.Files.VmPathName, MemorySizeMB: config.Hardware.MemoryMB, NumCpu: config.Hardware.NumCPU,
			NumEthernetCards: cards, NumVirtualDisks: disks, Uuid: config.Uuid, InstanceUuid: config.InstanceUuid, GuestId: config.GuestId,
			GuestFullName: config.GuestFullName, HwVersion: config.Version, Template: config.Template,
			MemoryReservation: int32(*config.MemoryAllocation.Reservation), CpuReservation: int32(*config.CpuAllocation.Reservation),
		}
		m.Summary.Storage = &types.VirtualMachineStorageSummary{Timestamp: time.Now()}
		for _, info := range layout.File {
			m.Summary.Storage.Committed += info.Size
		}
		m.Runtime.MaxCpuUsage = int32(m.host.config.CPUMHz) * config.Hardware.NumCPU
		m.Runtime.MaxMemoryUsage = config.Hardware.MemoryMB
		m.host.registry.Update(ctx, m, []types.PropertyChange{{Name: "name", Val: config.Name}, {Name: "config", Val: *config}})
	})
}

func (m *machine) configOf(file *vmxFile) *types.VirtualMachineConfigInfo {
	bios, _ := parseUUID(file.get("uuid.bios"))
	instance, _ := parseUUID(file.get("vc.uuid"))
	guest := file.get("guestOS")
	if guest == "" {
		guest = "other"
	}
	folder := m.volume.dsPath(path.Dir(m.relative)) + "/"
	cores := int32(file.number("cpuid.coresPerSocket", 1))
	allocation := func(kind string) *types.ResourceAllocationInfo {
		reservation, limit := file.number("sched."+kind+".min", 0), int64(-1)
		return &types.ResourceAllocationInfo{
			Reservation: &reservation, Limit: &limit, ExpandableReservation: types.NewBool(false),
			Shares: &types.SharesInfo{Level: types.SharesLevelNormal, Shares: 1000},
		}
	}
	config := &types.VirtualMachineConfigInfo{
		ChangeVersion: time.Now().UTC().Format(time.RFC3339Nano), Modified: time.Now(),
		Name: file.get("displayName"), GuestFullName: guest, GuestId: guestID(guest), AlternateGuestName: guest,
		Version: "vmx-" + file.get("virtualHW.version"), Uuid: bios.String(), InstanceUuid: instance.String(),
		Annotation: file.get("annotation"),
		Files: types.VirtualMachineFileInfo{
			VmPathName: m.dsPath(), SnapshotDirectory: folder, SuspendDirectory: folder, LogDirectory: folder,
		},
		Tools: &types.ToolsConfigInfo{ToolsVersion: 12352},
		DefaultPowerOps: types.VirtualMachineDefaultPowerOpInfo{
			PowerOffType: "soft", SuspendType: "hard", ResetType: "soft", DefaultPowerOffType: "soft", DefaultSuspendType: "hard",
			DefaultResetType: "soft", StandbyAction: "checkpoint",
		},
		Hardware: types.VirtualHardware{
			NumCPU: int32(file.number("numvcpus", 1)), NumCoresPerSocket: &cores,
			MemoryMB: int32(file.number("memSize", 32)),
		},
		CpuAllocation: allocation("cpu"), MemoryAllocation: allocation("mem"),
		DatastoreUrl:  []types.VirtualMachineConfigInfoDatastoreUrlPair{{Name: m.volume.Name, Url: m.volume.mountPath()}},
		SwapPlacement: "inherit",
	}
	config.NestedHVEnabled, config.VPMCEnabled = types.NewBool(file.yes("vhv.enable")), types.NewBool(file.yes("vpmc.enable"))
	if key := encryptionKey(file); key != "" {
		config.KeyId = &types.CryptoKeyId{KeyId: key}
	}
	if location, ok := parseUUID(file.get("uuid.location")); ok {
		config.LocationId = location.String()
	}
	for _, line := range file.lines {
		if line.key != "" {
			config.ExtraConfig = append(config.ExtraConfig, &types.OptionValue{Key: line.key, Value: line.value})
		}
	}
	return config
}

// guestID is the API's name for a .vmx's guestOS: debian11-64 is debian11_64Guest.
func guestID(guest string) string {
	id := []byte(guest)
	for i := range id {
		if id[i] == '-' {
			id[i] = '_'
		}
	}
	return string(id) + "Guest"
}

// showPower shows power state and what follows from it.
func (m *machine) showPower() {
	m.mu.Lock()
	power, since, asked := m.power, m.since, m.question
	cpus, memory := m.cpus, m.memory
	m.mu.Unlock()
	heartbeat, toolsRun := m.heartbeat()
	ctx := m.host.as("")
	m.host.registry.WithLock(ctx, m, func() {
		m.Runtime.ConnectionState = m.connection()
		m.Runtime.PowerState = power
		m.Runtime.Question = nil
		if asked != nil {
			m.Runtime.Question = asked.info
		}
		m.Runtime.BootTime = nil
		m.Summary.QuickStats = types.VirtualMachineQuickStats{GuestHeartbeatStatus: types.ManagedEntityStatusGray}
		if power == types.VirtualMachinePowerStatePoweredOn {
			m.Runtime.BootTime = &since
			m.Summary.QuickStats = types.VirtualMachineQuickStats{
				GuestHeartbeatStatus: heartbeat, OverallCpuUsage: int32(cpus) * int32(m.host.config.CPUMHz) / 10,
				HostMemoryUsage: int32(memory), GuestMemoryUsage: int32(memory / 10), UptimeSeconds: int32(time.Since(since) / time.Second),
			}
		}
		m.guestView(heartbeat, toolsRun)
		m.Summary.Runtime = m.Runtime
		changes := []types.PropertyChange{
			{Name: "runtime", Val: m.Runtime}, {Name: "runtime.powerState", Val: power}, {Name: "runtime.question"},
			{Name: "runtime.connectionState", Val: m.Runtime.ConnectionState}, {Name: "guestHeartbeatStatus", Val: m.GuestHeartbeatStatus},
			{Name: "summary.runtime.powerState", Val: power},
		}
		if asked != nil {
			changes[2].Val = *asked.info
		}
		m.host.registry.Update(ctx, m, changes)
	})
	go m.host.refreshStatistics()
}

func (m *machine) showConnection() {
	ctx := m.host.as("")
	m.host.registry.WithLock(ctx, m, func() {
		m.Runtime.ConnectionState = m.connection()
		m.Summary.Runtime.ConnectionState = m.Runtime.ConnectionState
		m.host.registry.Update(ctx, m, []types.PropertyChange{{Name: "runtime.connectionState", Val: m.Runtime.ConnectionState}})
	})
}

// connection is inaccessible while the host cannot read the VM's files.
func (m *machine) connection() types.VirtualMachineConnectionState {
	m.mu.Lock()
	loaded := m.loaded
	m.mu.Unlock()
	if !loaded || !m.volume.accessible() {
		return types.VirtualMachineConnectionStateInaccessible
	}
	return types.VirtualMachineConnectionStateConnected
}

// guestView shows the guest's heartbeat and its VMware Tools.
func (m *machine) guestView(heartbeat types.ManagedEntityStatus, toolsRun bool) {
	m.GuestHeartbeatStatus = heartbeat
	version := types.VirtualMachineToolsVersionStatusGuestToolsCurrent
	status, running, state := types.VirtualMachineToolsStatusToolsNotRunning, types.VirtualMachineToolsRunningStatusGuestToolsNotRunning, "notRunning"
	if m.noTools {
		version, status = types.VirtualMachineToolsVersionStatusGuestToolsNotInstalled, types.VirtualMachineToolsStatusToolsNotInstalled
	} else if toolsRun {
		status, running, state = types.VirtualMachineToolsStatusToolsOk, types.VirtualMachineToolsRunningStatusGuestToolsRunning, "running"
	}
	m.Guest = &types.GuestInfo{
		ToolsStatus: status, ToolsVersionStatus: string(version), ToolsVersionStatus2: string(version), ToolsRunningStatus: string(running),
		ToolsVersion: "12352", GuestState: state, HostName: m.Name, GuestOperationsReady: types.NewBool(state == "running"),
	}
	m.Summary.Guest = &types.VirtualMachineGuestSummary{
		ToolsStatus: status, ToolsVersionStatus: string(version), ToolsVersionStatus2: string(version), ToolsRunningStatus: string(running),
		HostName: m.Name,
	}
	if toolsRun && !m.noTools && m.address != "" {
		m.Guest.IpAddress, m.Summary.Guest.IpAddress = m.address, m.address
		m.Guest.Net = []types.GuestNicInfo{{IpAddress: []string{m.address}, Connected: true, DeviceConfigId: 4000}}
	}
}
