package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// devicesOf are the VM's devices as the .vmx has them, with the networks and datastores that they use.
func (m *machine) devicesOf(file *vmxFile) (
	devices []types.BaseVirtualDevice, networks []types.ManagedObjectReference, datastores []types.ManagedObjectReference,
) {
	datastores = []types.ManagedObjectReference{m.volume.object.Self}
	for bus := range int32(4) {
		prefix := fmt.Sprintf("scsi%d", bus)
		if !file.yes(prefix + ".present") {
			continue
		}
		controller := types.VirtualSCSIController{
			VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{
				Key: 1000 + bus, DeviceInfo: &types.Description{Label: fmt.Sprintf("SCSI controller %d", bus), Summary: file.get(prefix + ".virtualDev")},
			}, BusNumber: bus},
			SharedBus: types.VirtualSCSISharingNoSharing, ScsiCtlrUnitNumber: 7,
		}
		at := len(devices)
		devices = append(devices, nil)
		for unit := range int32(16) {
			if disk := m.diskOf(file, fmt.Sprintf("%s:%d", prefix, unit), 1000+bus, 2000+16*bus+unit, unit); disk != nil {
				controller.Device = append(controller.Device, disk.Key)
				devices = append(devices, disk)
				datastores = addDatastores(datastores, disk)
			}
		}
		if file.get(prefix+".virtualDev") == "pvscsi" {
			devices[at] = &types.ParaVirtualSCSIController{VirtualSCSIController: controller}
		} else {
			devices[at] = &types.VirtualLsiLogicSASController{VirtualSCSIController: controller}
		}
	}
	devices = m.addDrives(file, devices)
	for number := range int32(10) {
		card, network := m.cardOf(file, number)
		if card == nil {
			continue
		}
		devices = append(devices, card)
		if network != nil {
			networks = append(networks, *network)
		}
	}
	return append(devices, m.tyingDevices(file)...), networks, datastores
}

// addDrives adds the SATA controller with its CD drives, where there are such.
func (m *machine) addDrives(file *vmxFile, devices []types.BaseVirtualDevice) []types.BaseVirtualDevice {
	if !file.yes("sata0.present") {
		return devices
	}
	controller := &types.VirtualAHCIController{VirtualSATAController: types.VirtualSATAController{VirtualController: types.VirtualController{
		VirtualDevice: types.VirtualDevice{Key: 15000, DeviceInfo: &types.Description{Label: "SATA controller 0", Summary: "AHCI"}},
	}}}
	devices = append(devices, controller)
	for unit := range int32(4) {
		prefix := fmt.Sprintf("sata0:%d", unit)
		volume, relative := m.besides(file.get(prefix + ".fileName"))
		if !file.yes(prefix+".present") || volume == nil {
			continue
		}
		key := 16000 + unit
		controller.Device = append(controller.Device, key)
		devices = append(devices, &types.VirtualCdrom{VirtualDevice: types.VirtualDevice{
			Key: key, ControllerKey: 15000, UnitNumber: &unit,
			DeviceInfo: &types.Description{Label: fmt.Sprintf("CD/DVD drive %d", unit+1), Summary: "ISO"},
			Backing: &types.VirtualCdromIsoBackingInfo{VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{
				FileName: volume.dsPath(relative), Datastore: &volume.object.Self,
			}},
			Connectable: &types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true},
		}})
	}
	return devices
}

func addDatastores(list []types.ManagedObjectReference, disk *types.VirtualDisk) []types.ManagedObjectReference {
	backing, _ := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	for ; backing != nil; backing = backing.Parent {
		known := backing.Datastore == nil
		for _, ref := range list {
			known = known || ref == *backing.Datastore
		}
		if !known {
			list = append(list, *backing.Datastore)
		}
	}
	return list
}

func (m *machine) diskOf(file *vmxFile, prefix string, controller, key, unit int32) *types.VirtualDisk {
	name := file.get(prefix + ".fileName")
	if !file.yes(prefix+".present") || name == "" || !strings.HasSuffix(name, ".vmdk") {
		return nil
	}
	volume, relative := m.besides(name)
	backing, sectors := diskBacking(m.host, volume, relative, name, 0)
	return &types.VirtualDisk{
		VirtualDevice: types.VirtualDevice{
			Key: key, ControllerKey: controller, UnitNumber: &unit, Backing: backing,
			DeviceInfo: &types.Description{Label: fmt.Sprintf("Hard disk %d", key-1999), Summary: fmt.Sprintf("%d KB", sectors/2)},
		},
		CapacityInKB: sectors / 2, CapacityInBytes: sectors * sectorBytes,
	}
}

// besides resolves a file name in a .vmx: beside it, or an absolute path on a datastore.
func (m *machine) besides(name string) (*volume, string) {
	if strings.HasPrefix(name, "/") {
		if volume, relative, fault := m.host.locate(name); fault == nil {
			return volume, relative
		}
		return nil, name
	}
	return m.volume, path.Join(path.Dir(m.relative), name)
}

// diskBacking is a disk's file and, for a delta disk of a snapshot, its parents.
func diskBacking(h *host, volume *volume, relative, name string, depth int) (*types.VirtualDiskFlatVer2BackingInfo, int64) {
	backing := &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: name},
		DiskMode:                     string(types.VirtualDiskModePersistent), ThinProvisioned: types.NewBool(true), Sharing: "sharingNone",
	}
	if volume == nil {
		return backing, 0
	}
	backing.FileName = volume.dsPath(relative)
	backing.Datastore = &volume.object.Self
	descriptor := readDescriptor(volume, relative)
	if id, ok := parseUUID(descriptor.settings["ddb.uuid"]); ok {
		backing.Uuid = id.String()
	}
	if hint := descriptor.settings["parentFileNameHint"]; hint != "" && depth < 32 {
		parentVolume, parent := volume, path.Join(path.Dir(relative), hint)
		if strings.HasPrefix(hint, "/") {
			var fault types.BaseMethodFault
			if parentVolume, parent, fault = h.locate(hint); fault != nil {
				parentVolume = nil
			}
		}
		backing.Parent, _ = diskBacking(h, parentVolume, parent, hint, depth+1)
	}
	return backing, descriptor.sectors
}

// descriptor is a .vmdk's text part.
type descriptor struct {
	settings map[string]string
	extents  []string // file names
	sectors  int64
}

func readDescriptor(volume *volume, relative string) descriptor {
	d := descriptor{settings: map[string]string{}}
	files, err := volume.files.open()
	if err != nil {
		return d
	}
	content, err := fs.ReadFile(files, relative)
	if err != nil {
		return d
	}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if fields := strings.Fields(line); len(fields) >= 4 && (fields[0] == "RW" || fields[0] == "RDONLY") {
			if sectors, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				d.sectors += sectors
				d.extents = append(d.extents, strings.Trim(fields[3], `"`))
			}
		} else if key, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			d.settings[strings.TrimSpace(key)] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return d
}

func (m *machine) cardOf(file *vmxFile, number int32) (types.BaseVirtualDevice, *types.ManagedObjectReference) {
	prefix := fmt.Sprintf("ethernet%d", number)
	if !file.yes(prefix + ".present") {
		return nil, nil
	}
	name := file.get(prefix + ".networkName")
	backing := &types.VirtualEthernetCardNetworkBackingInfo{
		VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: name},
	}
	var network *types.ManagedObjectReference
	if ref, ok := m.host.networks[name]; ok {
		backing.Network, network = &ref, &ref
	}
	address := file.get(prefix + ".address")
	if address == "" {
		address = file.get(prefix + ".generatedAddress")
	}
	if address == "" { // as ESXi makes it from uuid.bios
		id, _ := parseUUID(file.get("uuid.bios"))
		address = fmt.Sprintf("00:0c:29:%02x:%02x:%02x", id[13], id[14], int32(id[15])+10*number&0xff)
	}
	unit := 7 + number
	card := types.VirtualEthernetCard{
		VirtualDevice: types.VirtualDevice{
			Key: 4000 + number, ControllerKey: 100, UnitNumber: &unit, Backing: backing,
			DeviceInfo:  &types.Description{Label: fmt.Sprintf("Network adapter %d", number+1), Summary: name},
			Connectable: &types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true, Status: "untried"},
		},
		AddressType: "generated", MacAddress: address, WakeOnLanEnabled: types.NewBool(true),
	}
	if file.get(prefix+".virtualDev") == "e1000" {
		return &types.VirtualE1000{VirtualEthernetCard: card}, network
	}
	return &types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: card}}, network
}

// layoutOf lists the VM's files with their sizes.
func (m *machine) layoutOf(file *vmxFile, devices []types.BaseVirtualDevice) *types.VirtualMachineFileLayoutEx {
	layout := &types.VirtualMachineFileLayoutEx{Timestamp: time.Now()}
	add := func(volume *volume, relative, kind string) int32 {
		key := int32(len(layout.File))
		info := types.VirtualMachineFileLayoutExFileInfo{Key: key, Name: relative, Type: kind, Accessible: types.NewBool(volume != nil && volume.accessible())}
		if volume != nil {
			info.Name = volume.dsPath(relative)
			if stat, err := volume.stat(relative); err == nil {
				info.Size = stat.Size()
			}
		}
		info.UniqueSize = info.Size
		layout.File = append(layout.File, info)
		return key
	}
	add(m.volume, m.relative, "config")
	base := strings.TrimSuffix(m.relative, ".vmx")
	for _, other := range []struct{ suffix, kind string }{{".nvram", "nvram"}, {".vmsd", "snapshotList"}, {".vmss", "suspend"}} {
		if _, err := m.volume.stat(base + other.suffix); err == nil && (other.kind != "suspend" || file.get("checkpoint.vmState") != "") {
			add(m.volume, base+other.suffix, other.kind)
		}
	}
	m.mu.Lock()
	on := m.power == types.VirtualMachinePowerStatePoweredOn
	m.mu.Unlock()
	if on {
		add(m.volume, base+".vswp", "swap")
	}
	for _, device := range devices {
		disk, ok := device.(*types.VirtualDisk)
		if !ok {
			continue
		}
		chain := types.VirtualMachineFileLayoutExDiskLayout{Key: disk.Key}
		backing, _ := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		for ; backing != nil; backing = backing.Parent {
			volume, relative, fault := m.host.locate(backing.FileName)
			if fault != nil {
				volume, relative = nil, backing.FileName
			}
			unit := types.VirtualMachineFileLayoutExDiskUnit{FileKey: []int32{add(volume, relative, "diskDescriptor")}}
			if volume != nil {
				for _, extent := range readDescriptor(volume, relative).extents {
					unit.FileKey = append(unit.FileKey, add(volume, path.Join(path.Dir(relative), extent), "diskExtent"))
				}
			}
			chain.Chain = append([]types.VirtualMachineFileLayoutExDiskUnit{unit}, chain.Chain...)
		}
		layout.Disk = append(layout.Disk, chain)
	}
	return layout
}
