package main

import (
	"context"
	"time"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// describe sets what the host says about itself: identity, hardware, health.
func (h *host) describe() {
	c, s := h.config, &h.system.HostSystem
	s.Name = c.Name
	s.Summary.Config.Name, s.Summary.Config.Port = c.Name, int32(c.Port)
	s.Summary.Host = &s.Self
	s.Summary.OverallStatus = types.ManagedEntityStatusGreen
	s.Summary.ManagementServerIp = ""
	product := *s.Summary.Config.Product
	s.Config.Product = product

	hardware := s.Summary.Hardware
	hardware.Uuid, hardware.Vendor, hardware.Model = c.id.String(), "libreha", "esxsim"
	hardware.MemorySize = c.memoryBytes()
	hardware.CpuModel = "Simulated CPU @ lab"
	hardware.CpuMhz, hardware.NumCpuPkgs = int32(c.CPUMHz), 1
	hardware.NumCpuCores, hardware.NumCpuThreads = int16(c.CPUCores), int16(c.CPUCores)
	hardware.NumHBAs = 2
	if s.Hardware != nil {
		s.Hardware.SystemInfo.Uuid, s.Hardware.SystemInfo.Vendor, s.Hardware.SystemInfo.Model = c.id.String(), "libreha", "esxsim"
		s.Hardware.MemorySize = c.memoryBytes()
		s.Hardware.CpuInfo = types.HostCpuInfo{
			NumCpuPackages: 1, NumCpuCores: int16(c.CPUCores), NumCpuThreads: int16(c.CPUCores), Hz: int64(c.CPUMHz) * 1000000,
		}
	}
	started := h.started
	s.Runtime.BootTime = &started
	s.Runtime.ConnectionState, s.Runtime.PowerState = types.HostSystemConnectionStateConnected, types.HostSystemPowerStatePoweredOn
	s.Runtime.HealthSystemRuntime = sensors()
	s.Summary.Runtime = &s.Runtime
	if s.Config.Network != nil && len(s.Config.Network.Vnic) > 0 && s.Config.Network.Vnic[0].Spec.Ip != nil {
		s.Config.Network.Vnic[0].Spec.Ip.IpAddress = c.Address
	}
	h.describeOffers()
	s.Config.AutoStart = &types.HostAutoStartManagerConfig{Defaults: &types.AutoStartDefaults{Enabled: types.NewBool(false)}}

	if summary, ok := h.compute.Summary.(*types.ComputeResourceSummary); ok {
		total := int32(c.CPUMHz * c.CPUCores)
		summary.TotalCpu, summary.EffectiveCpu = total, total
		summary.TotalMemory, summary.EffectiveMemory = c.memoryBytes(), c.MemoryMiB
		summary.NumCpuCores, summary.NumCpuThreads = int16(c.CPUCores), int16(c.CPUCores)
	}
}

// sensors are a small server's, all in order.
func sensors() *types.HealthSystemRuntime {
	green := &types.ElementDescription{
		Description: types.Description{Label: "Green", Summary: "Sensor is operating under normal conditions"}, Key: "green",
	}
	list := []types.HostNumericSensorInfo{
		{Name: "VMware Rollup Health State", SensorType: "system"},
		{Name: "System Board 1 Inlet Temp", SensorType: "temperature", CurrentReading: 2300, UnitModifier: -2, BaseUnits: "Degrees C"},
		{Name: "Processor 1 Temp", SensorType: "temperature", CurrentReading: 4100, UnitModifier: -2, BaseUnits: "Degrees C"},
		{Name: "System Board 1 Fan1A", SensorType: "fan", CurrentReading: 588000, UnitModifier: -2, BaseUnits: "RPM"},
		{Name: "Power Supply 1 Status", SensorType: "power", CurrentReading: 0},
		{Name: "Power Supply 2 Status", SensorType: "power", CurrentReading: 0},
		{Name: "Memory Device 1 Status", SensorType: "memory", CurrentReading: 0},
	}
	for i := range list {
		list[i].HealthState = green
	}
	return &types.HealthSystemRuntime{SystemHealthInfo: &types.HostSystemHealthInfo{NumericSensorInfo: list}}
}

// makeNetworks makes the port groups the only networks.
func (h *host) makeNetworks() {
	folder := h.registry.Get(h.datacenter.NetworkFolder)
	var refs []types.ManagedObjectReference
	for _, old := range h.datacenter.Network {
		h.registry.Remove(h.as(""), old)
	}
	for _, name := range h.config.Networks {
		network := &mo.Network{Name: name}
		network.Self = types.ManagedObjectReference{Type: "Network", Value: "HaNetwork-" + name}
		network.ManagedEntity.Name = name
		network.Host = []types.ManagedObjectReference{h.system.Self}
		network.Summary = &types.NetworkSummary{Network: &network.Self, Name: name, Accessible: true}
		h.registry.PutEntity(folder.(mo.Entity), network)
		refs = append(refs, network.Self)
		h.networks[name] = network.Self
	}
	if f, ok := folderOf(folder); ok {
		f.ChildEntity = refs
	}
	h.datacenter.Network, h.system.Network, h.compute.Network = refs, refs, refs
}

// keepStatistics keeps uptime and usage up to date.
func (h *host) keepStatistics(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		h.refreshStatistics()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// refreshStatistics: the hypervisor itself takes 2 GiB and 200 MHz; a running VM all its memory and a tenth of its CPUs.
func (h *host) refreshStatistics() {
	memory, cpu := int64(2048), int64(200)
	for _, m := range h.machines() {
		if mib, mhz, on := m.usage(); on {
			memory, cpu = memory+mib, cpu+mhz
		}
	}
	uptime := time.Since(h.started)
	h.with(h.system, func() {
		stats := &h.system.Summary.QuickStats
		stats.Uptime = max(1, int32(uptime/time.Second)) // 0 is left out of the answer
		stats.OverallMemoryUsage = int32(min(memory, h.config.MemoryMiB))
		stats.OverallCpuUsage = int32(min(cpu, int64(h.config.CPUMHz*h.config.CPUCores)))
	})
}
