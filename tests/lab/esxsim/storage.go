package main

import (
	"fmt"
	"slices"

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
	info := types.HostStorageDeviceInfo{
		HostBusAdapter: []types.BaseHostHostBusAdapter{
			&types.HostBlockHba{HostHostBusAdapter: types.HostHostBusAdapter{
				Key: hbaKey("BlockHba", localHBA), Device: localHBA, Status: "unknown", Model: "Simulated AHCI controller", Driver: "vmw_ahci",
				Pci: "0000:00:1f.2", StorageProtocol: "scsi",
			}},
		},
		ScsiLun:                     []types.BaseScsiLun{localDisk()},
		ScsiTopology:                &types.HostScsiTopology{},
		MultipathInfo:               &types.HostMultipathInfo{},
		PlugStoreTopology:           &types.HostPlugStoreTopology{},
		SoftwareInternetScsiEnabled: h.adapter == nil || h.adapter.get().Enabled,
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
	}
	if info.SoftwareInternetScsiEnabled {
		info.HostBusAdapter = append(info.HostBusAdapter, h.internetScsiHba(connected || h.loggedIn()))
		info.ScsiTopology.Adapter = append(info.ScsiTopology.Adapter, types.HostScsiTopologyInterface{
			Key: "key-vim.host.ScsiTopology.Interface-" + iscsiHBA, Adapter: hbaKey("InternetScsiHba", iscsiHBA),
		})
	}
	for _, lun := range h.luns() { // a LUN once seen stays listed, with its path dead, as on ESXi
		h.addLun(&info, lun, connected || h.loggedIn())
	}
	var mounts []types.HostFileSystemMountInfo
	for _, v := range h.known() {
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
	for _, v := range h.known() {
		v.refresh()
	}
}

// luns are the disks behind the iSCSI adapter: of a bare host what the latest rescan found, else the one of its configuration.
func (h *host) luns() []foundLUN {
	if h.adapter != nil {
		_, luns := h.adapter.seen()
		return luns
	}
	if device := h.session.Device(); device != nil {
		return []foundLUN{{h.config.ISCSI.Portal, h.config.ISCSI.Target, h.config.ISCSI.LUN, device, nil}}
	}
	return nil
}

// loggedIn: a bare host's target admits it, whatever its LUNs hold.
func (h *host) loggedIn() bool {
	session, ok := h.session.(*Session)
	return ok && h.adapter != nil && session.LoggedIn()
}

func (h *host) internetScsiHba(connected bool) *types.HostInternetScsiHba {
	status := "unbound"
	if connected {
		status = "online"
	}
	hba := &types.HostInternetScsiHba{
		HostHostBusAdapter: types.HostHostBusAdapter{
			Key: hbaKey("InternetScsiHba", iscsiHBA), Device: iscsiHBA, Status: status, Model: "iSCSI Software Adapter", Driver: "iscsi_vmk",
			StorageProtocol: "scsi",
		},
		IsSoftwareBased:          true,
		CanBeDisabled:            types.NewBool(true),
		NetworkBindingSupport:    types.HostInternetScsiHbaNetworkBindingSupportTypeOptional,
		IScsiName:                h.session.Initiator(),
		AuthenticationProperties: types.HostInternetScsiHbaAuthenticationProperties{ChapAuthEnabled: false},
	}
	if h.adapter != nil {
		h.adapter.describe(hba)
		return hba
	}
	h.mu.Lock()
	hba.ConfiguredSendTarget = slices.Clone(h.sendTarget)
	h.mu.Unlock()
	target := types.HostInternetScsiHbaStaticTarget{IScsiName: h.config.ISCSI.Target}
	target.Address, target.Port = splitPortal(h.config.ISCSI.Portal)
	hba.ConfiguredStaticTarget = []types.HostInternetScsiHbaStaticTarget{target}
	return hba
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

// addLun adds a LUN as it described itself, and the way to it: adapter, target, LUN number.
func (h *host) addLun(info *types.HostStorageDeviceInfo, lun foundLUN, connected bool) {
	device, number := lun.Device, int32(lun.number)
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
	transport := &types.HostInternetScsiTargetTransport{IScsiName: lun.target, Address: []string{lun.portal}}
	target := types.HostScsiTopologyTarget{
		Key: "key-vim.host.ScsiTopology.Target-" + iscsiHBA + ":0:0", Target: 0, Transport: transport,
		Lun: []types.HostScsiTopologyLun{{Key: "key-vim.host.ScsiTopology.Lun-" + uuid, Lun: number, ScsiLun: key}},
	}
	last := len(info.ScsiTopology.Adapter) - 1
	info.ScsiTopology.Adapter[last].Target = append(info.ScsiTopology.Adapter[last].Target, target)
	name := fmt.Sprintf("%s:C0:T0:L%d", iscsiHBA, number)
	policy := h.policy(uuid)
	unit := types.HostMultipathInfoLogicalUnit{
		Key: "key-vim.host.MultipathInfo.LogicalUnit-" + uuid, Id: uuid, Lun: key,
		Path: []types.HostMultipathInfoPath{{
			Key: "key-vim.host.MultipathInfo.Path-" + name, Name: name, PathState: path, State: path, IsWorkingPath: types.NewBool(connected),
			Adapter: hbaKey("InternetScsiHba", iscsiHBA), Lun: "key-vim.host.MultipathInfo.LogicalUnit-" + uuid, Transport: transport,
		}},
		Policy:                 &types.HostMultipathInfoLogicalUnitPolicy{Policy: policy},
		StorageArrayTypePolicy: &types.HostMultipathInfoLogicalUnitStorageArrayTypePolicy{Policy: "VMW_SATP_DEFAULT_AA"},
	}
	if policy == "VMW_PSP_FIXED" {
		unit.Policy = &types.HostMultipathInfoFixedLogicalUnitPolicy{
			HostMultipathInfoLogicalUnitPolicy: types.HostMultipathInfoLogicalUnitPolicy{Policy: policy}, Prefer: name,
		}
	}
	info.MultipathInfo.Lun = append(info.MultipathInfo.Lun, unit)
}
