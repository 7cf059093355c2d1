package main

import (
	"log"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// storageSystem answers for the HostStorageSystem: what an iSCSI setup of ESXi calls. On a host that is not bare the adapter is set up
// by its configuration, and most of it is refused.
type storageSystem struct {
	*simulator.HostStorageSystem
	host *host
}

// refresh runs beside the call: the caller holds this object's lock.
func (s *storageSystem) refresh() { go s.host.refreshStorage(s.host.session.Connected()) }

// configure changes the settings of a bare host's adapter.
func (s *storageSystem) configure(device string, change func(*adapterSettings) types.BaseMethodFault) *soap.Fault {
	adapter := s.host.adapter
	if device != iscsiHBA || adapter != nil && !adapter.get().Enabled {
		return simulator.Fault("", new(types.NotFound))
	}
	if adapter == nil {
		return simulator.Fault("the adapter is set up by this host's configuration", new(types.NotSupported))
	}
	var fault types.BaseMethodFault
	adapter.set(func(settings *adapterSettings) { fault = change(settings) })
	if fault != nil {
		return simulator.Fault("", fault)
	}
	s.refresh()
	return nil
}

func (s *storageSystem) rescan() {
	if s.host.adapter != nil {
		s.host.adapter.rescan()
	}
	s.refresh()
}

func (s *storageSystem) RescanAllHba(*simulator.Context, *types.RescanAllHba) soap.HasFault {
	s.rescan()
	return &methods.RescanAllHbaBody{Res: new(types.RescanAllHbaResponse)}
}

func (s *storageSystem) RescanHba(_ *simulator.Context, req *types.RescanHba) soap.HasFault {
	if req.HbaDevice != iscsiHBA && req.HbaDevice != localHBA {
		return &methods.RescanHbaBody{Fault_: simulator.Fault("", new(types.NotFound))}
	}
	s.rescan()
	return &methods.RescanHbaBody{Res: new(types.RescanHbaResponse)}
}

func (s *storageSystem) RescanVmfs(*simulator.Context, *types.RescanVmfs) soap.HasFault {
	s.rescan()
	return &methods.RescanVmfsBody{Res: new(types.RescanVmfsResponse)}
}

func (s *storageSystem) UpdateSoftwareInternetScsiEnabled(_ *simulator.Context, req *types.UpdateSoftwareInternetScsiEnabled) soap.HasFault {
	adapter := s.host.adapter
	if !req.Enabled && (adapter == nil || s.host.session.Connected()) {
		return &methods.UpdateSoftwareInternetScsiEnabledBody{Fault_: simulator.Fault("the adapter is in use", new(types.HostConfigFault))}
	}
	if adapter != nil {
		adapter.set(func(settings *adapterSettings) { settings.Enabled = req.Enabled })
		if !req.Enabled {
			adapter.off()
		}
		s.refresh()
	}
	return &methods.UpdateSoftwareInternetScsiEnabledBody{Res: new(types.UpdateSoftwareInternetScsiEnabledResponse)}
}

func (s *storageSystem) AddInternetScsiSendTargets(_ *simulator.Context, req *types.AddInternetScsiSendTargets) soap.HasFault {
	if s.host.adapter == nil && req.IScsiHbaDevice == iscsiHBA {
		s.host.mu.Lock()
		s.host.sendTarget = append(s.host.sendTarget, req.Targets...)
		s.host.mu.Unlock()
		s.refresh()
		return &methods.AddInternetScsiSendTargetsBody{Res: new(types.AddInternetScsiSendTargetsResponse)}
	}
	body := new(methods.AddInternetScsiSendTargetsBody)
	if body.Fault_ = s.configure(req.IScsiHbaDevice, func(settings *adapterSettings) types.BaseMethodFault {
		for _, target := range req.Targets {
			if portal := joinPortal(target.Address, target.Port); !slices.Contains(settings.SendTargets, portal) {
				settings.SendTargets = append(settings.SendTargets, portal)
			}
		}
		return nil
	}); body.Fault_ == nil {
		body.Res = new(types.AddInternetScsiSendTargetsResponse)
	}
	return body
}

func (s *storageSystem) RemoveInternetScsiSendTargets(_ *simulator.Context, req *types.RemoveInternetScsiSendTargets) soap.HasFault {
	body := new(methods.RemoveInternetScsiSendTargetsBody)
	if body.Fault_ = s.configure(req.IScsiHbaDevice, func(settings *adapterSettings) types.BaseMethodFault {
		for _, target := range req.Targets {
			at := slices.Index(settings.SendTargets, joinPortal(target.Address, target.Port))
			if at < 0 {
				return new(types.NotFound)
			}
			settings.SendTargets = slices.Delete(settings.SendTargets, at, at+1)
		}
		return nil
	}); body.Fault_ == nil {
		body.Res = new(types.RemoveInternetScsiSendTargetsResponse)
	}
	return body
}

func (s *storageSystem) AddInternetScsiStaticTargets(_ *simulator.Context, req *types.AddInternetScsiStaticTargets) soap.HasFault {
	body := new(methods.AddInternetScsiStaticTargetsBody)
	if body.Fault_ = s.configure(req.IScsiHbaDevice, func(settings *adapterSettings) types.BaseMethodFault {
		for _, target := range req.Targets {
			if one := (staticTarget{joinPortal(target.Address, target.Port), target.IScsiName}); !slices.Contains(settings.StaticTargets, one) {
				settings.StaticTargets = append(settings.StaticTargets, one)
			}
		}
		return nil
	}); body.Fault_ == nil {
		body.Res = new(types.AddInternetScsiStaticTargetsResponse)
	}
	return body
}

func (s *storageSystem) RemoveInternetScsiStaticTargets(_ *simulator.Context, req *types.RemoveInternetScsiStaticTargets) soap.HasFault {
	body := new(methods.RemoveInternetScsiStaticTargetsBody)
	if body.Fault_ = s.configure(req.IScsiHbaDevice, func(settings *adapterSettings) types.BaseMethodFault {
		for _, target := range req.Targets {
			at := slices.Index(settings.StaticTargets, staticTarget{joinPortal(target.Address, target.Port), target.IScsiName})
			if at < 0 {
				return new(types.NotFound)
			}
			settings.StaticTargets = slices.Delete(settings.StaticTargets, at, at+1)
		}
		return nil
	}); body.Fault_ == nil {
		body.Res = new(types.RemoveInternetScsiStaticTargetsResponse)
	}
	return body
}

// UpdateInternetScsiAuthenticationProperties sets the adapter's CHAP; per target it is not supported here. A secret is needed whenever
// CHAP is on: there is no "leave it".
func (s *storageSystem) UpdateInternetScsiAuthenticationProperties(
	_ *simulator.Context, req *types.UpdateInternetScsiAuthenticationProperties,
) soap.HasFault {
	body := new(methods.UpdateInternetScsiAuthenticationPropertiesBody)
	given := req.AuthenticationProperties
	if body.Fault_ = s.configure(req.IScsiHbaDevice, func(settings *adapterSettings) types.BaseMethodFault {
		mutual := given.MutualChapAuthenticationType == string(types.HostInternetScsiHbaChapAuthenticationTypeChapRequired)
		switch {
		case req.TargetSet != nil:
			return new(types.NotSupported)
		case !given.ChapAuthEnabled:
			settings.Chap = chapSettings{}
		case given.ChapName == "" || given.ChapSecret == "":
			return &types.InvalidArgument{InvalidProperty: "authenticationProperties.chapSecret"}
		case mutual && (given.MutualChapName == "" || given.MutualChapSecret == "" || given.MutualChapSecret == given.ChapSecret):
			return &types.InvalidArgument{InvalidProperty: "authenticationProperties.mutualChapSecret"}
		default:
			settings.Chap = chapSettings{User: given.ChapName, Secret: given.ChapSecret}
			if mutual {
				settings.Chap.MutualUser, settings.Chap.MutualSecret = given.MutualChapName, given.MutualChapSecret
			}
		}
		return nil
	}); body.Fault_ == nil {
		body.Res = new(types.UpdateInternetScsiAuthenticationPropertiesResponse)
	}
	return body
}

// UpdateInternetScsiName changes the initiator name; the session logs in anew under it. A host that is not bare forgets it at its next start.
func (s *storageSystem) UpdateInternetScsiName(_ *simulator.Context, req *types.UpdateInternetScsiName) soap.HasFault {
	body := new(methods.UpdateInternetScsiNameBody)
	if s.host.adapter != nil {
		if body.Fault_ = s.configure(req.IScsiHbaDevice, func(settings *adapterSettings) types.BaseMethodFault {
			settings.Initiator = req.IScsiName
			return nil
		}); body.Fault_ != nil {
			return body
		}
	}
	if req.IScsiHbaDevice != iscsiHBA {
		return &methods.UpdateInternetScsiNameBody{Fault_: simulator.Fault("", new(types.NotFound))}
	}
	if err := s.host.session.Rename(req.IScsiName); err != nil {
		log.Printf("iscsi: %s", err)
		return &methods.UpdateInternetScsiNameBody{Fault_: simulator.Fault(err.Error(), new(types.NotSupported))}
	}
	s.refresh()
	body.Res = new(types.UpdateInternetScsiNameResponse)
	return body
}

// describe adds what is set to the adapter as the API shows it. Secrets are not shown.
func (a *softwareISCSI) describe(hba *types.HostInternetScsiHba) {
	settings := a.get()
	discovered, _ := a.seen()
	hba.AuthenticationProperties = types.HostInternetScsiHbaAuthenticationProperties{
		ChapAuthEnabled: settings.Chap.User != "", ChapName: settings.Chap.User, MutualChapName: settings.Chap.MutualUser,
		ChapAuthenticationType:       chapKind(settings.Chap.User),
		MutualChapAuthenticationType: chapKind(settings.Chap.MutualUser),
	}
	for _, portal := range settings.SendTargets {
		target := types.HostInternetScsiHbaSendTarget{}
		target.Address, target.Port = splitPortal(portal)
		hba.ConfiguredSendTarget = append(hba.ConfiguredSendTarget, target)
	}
	for _, one := range append(slices.Clone(settings.StaticTargets), discovered...) {
		target := types.HostInternetScsiHbaStaticTarget{
			IScsiName: one.Target, DiscoveryMethod: string(types.HostInternetScsiHbaStaticTargetTargetDiscoveryMethodStaticMethod),
		}
		if !slices.Contains(settings.StaticTargets, one) {
			target.DiscoveryMethod = string(types.HostInternetScsiHbaStaticTargetTargetDiscoveryMethodSendTargetMethod)
		}
		target.Address, target.Port = splitPortal(one.Portal)
		hba.ConfiguredStaticTarget = append(hba.ConfiguredStaticTarget, target)
	}
}

func chapKind(user string) string {
	if user == "" {
		return string(types.HostInternetScsiHbaChapAuthenticationTypeChapProhibited)
	}
	return string(types.HostInternetScsiHbaChapAuthenticationTypeChapRequired)
}

// RetrieveDiskPartitionInfo: the partition tables, read anew from the disks.
func (s *storageSystem) RetrieveDiskPartitionInfo(_ *simulator.Context, req *types.RetrieveDiskPartitionInfo) soap.HasFault {
	body := &methods.RetrieveDiskPartitionInfoBody{Res: new(types.RetrieveDiskPartitionInfoResponse)}
	if s.host.adapter != nil {
		s.host.adapter.rescan()
	}
	for _, path := range req.DevicePath {
		lun, ok := s.host.lunAt(path)
		if !ok {
			return &methods.RetrieveDiskPartitionInfoBody{Fault_: simulator.Fault("", new(types.NotFound))}
		}
		body.Res.Returnval = append(body.Res.Returnval, lun.partitionInfo())
	}
	return body
}

// lunAt finds a disk of a bare host by "/vmfs/devices/disks/NAME".
func (h *host) lunAt(path string) (foundLUN, bool) {
	name := strings.TrimPrefix(path, "/vmfs/devices/disks/")
	for _, lun := range h.luns() {
		if h.adapter != nil && lun.CanonicalName == name {
			return lun, true
		}
	}
	return foundLUN{}, false
}

func (l foundLUN) partitionInfo() types.HostDiskPartitionInfo {
	format, table := l.partitions()
	info := types.HostDiskPartitionInfo{
		DeviceName: "/vmfs/devices/disks/" + l.CanonicalName,
		Spec:       types.HostDiskPartitionSpec{PartitionFormat: format, TotalSectors: int64(l.Blocks)},
		Layout: types.HostDiskPartitionLayout{
			Total: &types.HostDiskDimensionsLba{BlockSize: int32(l.BlockBytes), Block: int64(l.Blocks)},
		},
	}
	for _, one := range table {
		info.Spec.Partition = append(info.Spec.Partition, types.HostDiskPartitionAttributes{
			Partition: one.number, StartSector: one.start, EndSector: one.end, Type: one.kind, Guid: one.guid,
		})
	}
	return info
}

// QueryUnresolvedVmfsVolume: volumes that were made on another disk than the one they lie on now.
func (s *storageSystem) QueryUnresolvedVmfsVolume(*simulator.Context, *types.QueryUnresolvedVmfsVolume) soap.HasFault {
	res := new(types.QueryUnresolvedVmfsVolumeResponse)
	for _, lun := range s.host.luns() {
		if lun.Volume == nil || lun.mountable() {
			continue
		}
		res.Returnval = append(res.Returnval, types.HostUnresolvedVmfsVolume{
			VmfsLabel: lun.Volume.Label, VmfsUuid: lun.Volume.UUID, TotalBlocks: int32(lun.bytes() >> 20),
			Extent: []types.HostUnresolvedVmfsExtent{{
				Device:     types.HostScsiDiskPartition{DiskName: lun.CanonicalName, Partition: 1},
				DevicePath: "/vmfs/devices/disks/" + lun.CanonicalName + ":1", VmfsUuid: lun.Volume.UUID, IsHeadExtent: true, Reason: "diskIdMismatch",
			}},
			ResolveStatus: types.HostUnresolvedVmfsVolumeResolveStatus{Resolvable: true},
		})
	}
	return &methods.QueryUnresolvedVmfsVolumeBody{Res: res}
}

// iscsiManager answers for port binding.
type iscsiManager struct {
	mo.IscsiManager
	host *host
}

func (h *host) iscsiManager() *iscsiManager {
	manager := &iscsiManager{host: h}
	manager.Self = *h.system.ConfigManager.IscsiManager
	return manager
}

func (m *iscsiManager) QueryBoundVnics(_ *simulator.Context, req *types.QueryBoundVnics) soap.HasFault {
	adapter := m.host.adapter
	if req.IScsiHbaName != iscsiHBA || adapter == nil || !adapter.get().Enabled {
		return &methods.QueryBoundVnicsBody{Fault_: simulator.Fault("", new(types.NotFound))}
	}
	res := new(types.QueryBoundVnicsResponse)
	for _, vnic := range adapter.get().Bound {
		res.Returnval = append(res.Returnval, types.IscsiPortInfo{VnicDevice: vnic, ComplianceStatus: &types.IscsiStatus{}, PathStatus: "notUsed"})
	}
	return &methods.QueryBoundVnicsBody{Res: res}
}

func (m *iscsiManager) BindVnic(_ *simulator.Context, req *types.BindVnic) soap.HasFault {
	adapter := m.host.adapter
	switch {
	case req.IScsiHbaName != iscsiHBA || adapter == nil || !adapter.get().Enabled:
		return &methods.BindVnicBody{Fault_: simulator.Fault("", new(types.NotFound))}
	case !slices.Contains(m.host.config.VMkernelPorts, req.VnicDevice):
		return &methods.BindVnicBody{Fault_: simulator.Fault("", &types.IscsiFaultVnicNotFound{IscsiFault: types.IscsiFault{}, VnicDevice: req.VnicDevice})}
	case slices.Contains(adapter.get().Bound, req.VnicDevice):
		return &methods.BindVnicBody{Fault_: simulator.Fault("", &types.IscsiFaultVnicAlreadyBound{VnicDevice: req.VnicDevice})}
	}
	adapter.set(func(settings *adapterSettings) { settings.Bound = append(settings.Bound, req.VnicDevice) })
	return &methods.BindVnicBody{Res: new(types.BindVnicResponse)}
}

func (m *iscsiManager) UnbindVnic(_ *simulator.Context, req *types.UnbindVnic) soap.HasFault {
	adapter := m.host.adapter
	if adapter == nil || !slices.Contains(adapter.get().Bound, req.VnicDevice) {
		return &methods.UnbindVnicBody{Fault_: simulator.Fault("", &types.IscsiFaultVnicNotBound{VnicDevice: req.VnicDevice})}
	}
	adapter.set(func(settings *adapterSettings) {
		settings.Bound = slices.DeleteFunc(settings.Bound, func(one string) bool { return one == req.VnicDevice })
	})
	return &methods.UnbindVnicBody{Res: new(types.UnbindVnicResponse)}
}
