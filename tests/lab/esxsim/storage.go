package main

import (
	"fmt"
	"log"
	"net"
	"slices"
	"strconv"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	localHBA = "vmhba0"
	iscsiHBA = "vmhba64"
	localKey = "key-vim.host.ScsiDisk-local"
)

func hbaKey(kind, device string) string { return "key-vim.host." + kind + "-" + device }

// refreshStorage brings adapters, LUNs, paths, mounts and datastores up to date with the iSCSI session.
func (h *host) refreshStorage(connected bool) {
	device := h.session.Device()
	info := types.HostStorageDeviceInfo{
		HostBusAdapter: []types.BaseHostHostBusAdapter{
			&types.HostBlockHba{HostHostBusAdapter: types.HostHostBusAdapter{
				Key: hbaKey("BlockHba", localHBA), Device: localHBA, Status: "unknown", Model: "Simulated AHCI controller", Driver: "vmw_ahci",
				Pci: "0000:00:1f.2", StorageProtocol: "scsi",
			}},
			h.internetScsiHba(connected),
		},
		ScsiLun:                     []types.BaseScsiLun{localDisk()},
		ScsiTopology:                &types.HostScsiTopology{},
		MultipathInfo:               &types.HostMultipathInfo{},
		PlugStoreTopology:           &types.HostPlugStoreTopology{},
		SoftwareInternetScsiEnabled: true,
	}
	info.ScsiTopology.Adapter = []types.HostScsiTopologyInterface{
		{
			Key: "key-vim.host.ScsiTopology.Interface-" + localHBA, Adapter: hbaKey("BlockHba", localHBA),
			Target: []types.HostScsiTopologyTarget{{
				Key: "key-vim.host.ScsiTopology.Target-" + localHBA + ":0:0", Target: 0,
				Lun:       []types.HostScsiTopologyLun{{Key: "key-vim.host.ScsiTopology.Lun-local", Lun: 0, ScsiLun: localKey}},
				Transport: &types.HostBlockAdapterTargetTransport{},
			}},
		},
		{Key: "key-vim.host.ScsiTopology.Interface-" + iscsiHBA, Adapter: hbaKey("InternetScsiHba", iscsiHBA)},
	}
	if device != nil { // a LUN once seen stays listed, with its path dead, as on ESXi
		h.addLun(&info, device, connected)
	}
	var mounts []types.HostFileSystemMountInfo
	for _, v := range h.volumes {
		vmfs := v.vmfs()
		mounts = append(mounts, types.HostFileSystemMountInfo{MountInfo: v.mountInfo(), Volume: &vmfs, VStorageSupport: "vStorageUnsupported"})
	}
	volumes := types.HostFileSystemVolumeInfo{VolumeTypeList: []string{"VMFS", "NFS", "NFS41"}, MountInfo: mounts}
	h.with(h.storage, func() {
		h.storage.StorageDeviceInfo = &info
		h.storage.FileSystemVolumeInfo = volumes
	})
	h.with(h.system, func() {
		h.system.Config.StorageDevice = &info
		h.system.Config.FileSystemVolume = &volumes
	})
	for _, v := range h.volumes {
		v.refresh()
	}
}

func (h *host) internetScsiHba(connected bool) *types.HostInternetScsiHba {
	status := "unbound"
	if connected {
		status = "online"
	}
	h.mu.Lock()
	sendTargets := h.sendTarget
	h.mu.Unlock()
	target := types.HostInternetScsiHbaStaticTarget{IScsiName: h.config.ISCSI.Target}
	address, port, err := net.SplitHostPort(h.config.ISCSI.Portal)
	if err != nil {
		address, port = h.config.ISCSI.Portal, "3260"
	}
	number, _ := strconv.Atoi(port)
	target.Address, target.Port = address, int32(number)
	return &types.HostInternetScsiHba{
		HostHostBusAdapter: types.HostHostBusAdapter{
			Key: hbaKey("InternetScsiHba", iscsiHBA), Device: iscsiHBA, Status: status, Model: "iSCSI Software Adapter", Driver: "iscsi_vmk",
			StorageProtocol: "scsi",
		},
		IsSoftwareBased:          true,
		CanBeDisabled:            types.NewBool(true),
		NetworkBindingSupport:    types.HostInternetScsiHbaNetworkBindingSupportTypeOptional,
		IScsiName:                h.session.Initiator(),
		ConfiguredSendTarget:     slices.Clone(sendTargets),
		ConfiguredStaticTarget:   []types.HostInternetScsiHbaStaticTarget{target},
		AuthenticationProperties: types.HostInternetScsiHbaAuthenticationProperties{ChapAuthEnabled: false},
	}
}

func localDisk() *types.HostScsiDisk {
	return &types.HostScsiDisk{
		ScsiLun: types.ScsiLun{
			HostDevice: types.HostDevice{DeviceName: "/vmfs/devices/disks/mpx.vmhba0:C0:T0:L0", DeviceType: "disk"},
			Key:        localKey, Uuid: "0000000000766d68626130", CanonicalName: "mpx.vmhba0:C0:T0:L0", DisplayName: "Local disk", LunType: "disk",
			Vendor: "ATA", Model: "Simulated disk", OperationalState: []string{"ok"},
		},
		Capacity:   types.HostDiskDimensionsLba{BlockSize: sectorBytes, Block: localCapacity / sectorBytes},
		DevicePath: "/vmfs/devices/disks/mpx.vmhba0:C0:T0:L0", Ssd: types.NewBool(false), LocalDisk: types.NewBool(true), ScsiDiskType: "native512",
	}
}

// addLun adds the shared LUN as it described itself, and the way to it: adapter, target, LUN number.
func (h *host) addLun(info *types.HostStorageDeviceInfo, device *Device, connected bool) {
	number := int32(h.config.ISCSI.LUN)
	uuid := fmt.Sprintf("02%02x%06x%x", number, 0, device.Designator)
	key := "key-vim.host.ScsiDisk-" + uuid
	state, path := "ok", "active"
	if !connected {
		state, path = "lostCommunication", "dead"
	}
	info.ScsiLun = append(info.ScsiLun, &types.HostScsiDisk{
		ScsiLun: types.ScsiLun{
			HostDevice: types.HostDevice{DeviceName: "/vmfs/devices/disks/" + device.CanonicalName, DeviceType: "disk"},
			Key:        key, Uuid: uuid, CanonicalName: device.CanonicalName,
			DisplayName: fmt.Sprintf("%s iSCSI Disk (%s)", device.Vendor, device.CanonicalName), LunType: "disk",
			Vendor: device.Vendor, Model: device.Model, Revision: device.Revision, ScsiLevel: 5, SerialNumber: device.Serial,
			OperationalState: []string{state}, VStorageSupport: "vStorageSupported",
		},
		Capacity:   types.HostDiskDimensionsLba{BlockSize: int32(device.BlockBytes), Block: int64(device.Blocks)},
		DevicePath: "/vmfs/devices/disks/" + device.CanonicalName, Ssd: types.NewBool(false), LocalDisk: types.NewBool(false), ScsiDiskType: "native512",
	})
	transport := &types.HostInternetScsiTargetTransport{IScsiName: h.config.ISCSI.Target, Address: []string{h.config.ISCSI.Portal}}
	target := types.HostScsiTopologyTarget{
		Key: "key-vim.host.ScsiTopology.Target-" + iscsiHBA + ":0:0", Target: 0, Transport: transport,
		Lun: []types.HostScsiTopologyLun{{Key: "key-vim.host.ScsiTopology.Lun-" + uuid, Lun: number, ScsiLun: key}},
	}
	last := len(info.ScsiTopology.Adapter) - 1
	info.ScsiTopology.Adapter[last].Target = []types.HostScsiTopologyTarget{target}
	name := fmt.Sprintf("%s:C0:T0:L%d", iscsiHBA, number)
	unit := types.HostMultipathInfoLogicalUnit{
		Key: "key-vim.host.MultipathInfo.LogicalUnit-" + uuid, Id: uuid, Lun: key,
		Path: []types.HostMultipathInfoPath{{
			Key: "key-vim.host.MultipathInfo.Path-" + name, Name: name, PathState: path, State: path, IsWorkingPath: types.NewBool(connected),
			Adapter: hbaKey("InternetScsiHba", iscsiHBA), Lun: "key-vim.host.MultipathInfo.LogicalUnit-" + uuid, Transport: transport,
		}},
		Policy: &types.HostMultipathInfoFixedLogicalUnitPolicy{
			HostMultipathInfoLogicalUnitPolicy: types.HostMultipathInfoLogicalUnitPolicy{Policy: "VMW_PSP_FIXED"}, Prefer: name,
		},
		StorageArrayTypePolicy: &types.HostMultipathInfoLogicalUnitStorageArrayTypePolicy{Policy: "VMW_SATP_DEFAULT_AA"},
	}
	info.MultipathInfo.Lun = append(info.MultipathInfo.Lun, unit)
}

// storageSystem answers for the HostStorageSystem: what an iSCSI setup of ESXi calls.
type storageSystem struct {
	*simulator.HostStorageSystem
	host *host
}

func (s *storageSystem) refresh() { go s.host.refreshStorage(s.host.session.Connected()) }

func (s *storageSystem) RescanAllHba(*simulator.Context, *types.RescanAllHba) soap.HasFault {
	s.refresh()
	return &methods.RescanAllHbaBody{Res: new(types.RescanAllHbaResponse)}
}

func (s *storageSystem) RescanHba(_ *simulator.Context, req *types.RescanHba) soap.HasFault {
	if req.HbaDevice != iscsiHBA && req.HbaDevice != localHBA {
		return &methods.RescanHbaBody{Fault_: simulator.Fault("", new(types.NotFound))}
	}
	s.refresh()
	return &methods.RescanHbaBody{Res: new(types.RescanHbaResponse)}
}

func (s *storageSystem) UpdateSoftwareInternetScsiEnabled(_ *simulator.Context, req *types.UpdateSoftwareInternetScsiEnabled) soap.HasFault {
	if !req.Enabled {
		return &methods.UpdateSoftwareInternetScsiEnabledBody{Fault_: simulator.Fault("the adapter is in use", new(types.HostConfigFault))}
	}
	return &methods.UpdateSoftwareInternetScsiEnabledBody{Res: new(types.UpdateSoftwareInternetScsiEnabledResponse)}
}

func (s *storageSystem) AddInternetScsiSendTargets(_ *simulator.Context, req *types.AddInternetScsiSendTargets) soap.HasFault {
	if req.IScsiHbaDevice != iscsiHBA {
		return &methods.AddInternetScsiSendTargetsBody{Fault_: simulator.Fault("", new(types.NotFound))}
	}
	s.host.mu.Lock()
	s.host.sendTarget = append(s.host.sendTarget, req.Targets...)
	s.host.mu.Unlock()
	s.refresh()
	return &methods.AddInternetScsiSendTargetsBody{Res: new(types.AddInternetScsiSendTargetsResponse)}
}

// UpdateInternetScsiName changes the initiator name; the session logs in anew under it. It is forgotten at the next start.
func (s *storageSystem) UpdateInternetScsiName(_ *simulator.Context, req *types.UpdateInternetScsiName) soap.HasFault {
	if req.IScsiHbaDevice != iscsiHBA {
		return &methods.UpdateInternetScsiNameBody{Fault_: simulator.Fault("", new(types.NotFound))}
	}
	if err := s.host.session.Rename(req.IScsiName); err != nil {
		log.Printf("iscsi: %s", err)
		return &methods.UpdateInternetScsiNameBody{Fault_: simulator.Fault(err.Error(), new(types.NotSupported))}
	}
	s.refresh()
	return &methods.UpdateInternetScsiNameBody{Res: new(types.UpdateInternetScsiNameResponse)}
}
