package main

import (
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// datastoreSystem answers for the HostDatastoreSystem of a bare host. It formats as ESXi does: what the disk holds is not asked.
type datastoreSystem struct {
	*simulator.HostDatastoreSystem
	host *host
}

func (h *host) datastoreSystem() *datastoreSystem {
	return &datastoreSystem{h.registry.Get(*h.system.ConfigManager.DatastoreSystem).(*simulator.HostDatastoreSystem), h}
}

// QueryAvailableDisksForVmfs leaves out disks that a mounted VMFS is on, and no others: not those with partitions of somebody else.
func (d *datastoreSystem) QueryAvailableDisksForVmfs(*simulator.Context, *types.QueryAvailableDisksForVmfs) soap.HasFault {
	res := new(types.QueryAvailableDisksForVmfsResponse)
	info := types.HostStorageDeviceInfo{
		ScsiTopology: &types.HostScsiTopology{Adapter: make([]types.HostScsiTopologyInterface, 1)}, MultipathInfo: new(types.HostMultipathInfo),
	}
	for _, lun := range d.host.luns() {
		if !lun.mountable() {
			d.host.addLun(&info, lun, true)
		}
	}
	for _, disk := range info.ScsiLun {
		res.Returnval = append(res.Returnval, *disk.(*types.HostScsiDisk))
	}
	return &methods.QueryAvailableDisksForVmfsBody{Res: res}
}

// QueryVmfsDatastoreCreateOptions offers the whole disk, whatever is on it.
func (d *datastoreSystem) QueryVmfsDatastoreCreateOptions(_ *simulator.Context, req *types.QueryVmfsDatastoreCreateOptions) soap.HasFault {
	lun, ok := d.host.lunAt(req.DevicePath)
	if !ok {
		return &methods.QueryVmfsDatastoreCreateOptionsBody{Fault_: simulator.Fault("", new(types.NotFound))}
	}
	end := int64(lun.Blocks) - 2048
	block := func(sector int64) types.HostDiskDimensionsLba {
		return types.HostDiskDimensionsLba{BlockSize: sectorBytes, Block: sector}
	}
	layout := types.HostDiskPartitionLayout{
		Total:     &types.HostDiskDimensionsLba{BlockSize: sectorBytes, Block: int64(lun.Blocks)},
		Partition: []types.HostDiskPartitionBlockRange{{Partition: 1, Type: "vmfs", Start: block(2048), End: block(end)}},
	}
	spec := &types.VmfsDatastoreCreateSpec{
		VmfsDatastoreSpec: types.VmfsDatastoreSpec{DiskUuid: fmt.Sprintf("02%02x%06x%x", lun.number, 0, lun.Designator)},
		Partition: types.HostDiskPartitionSpec{
			PartitionFormat: "gpt", TotalSectors: int64(lun.Blocks),
			Partition: []types.HostDiskPartitionAttributes{{Partition: 1, StartSector: 2048, EndSector: end, Type: "vmfs"}},
		},
		Vmfs: types.HostVmfsSpec{Extent: types.HostScsiDiskPartition{DiskName: lun.CanonicalName, Partition: 1}, MajorVersion: 6, BlockSizeMb: 1},
	}
	option := types.VmfsDatastoreOption{
		Info: &types.VmfsDatastoreAllExtentOption{VmfsDatastoreSingleExtentOption: types.VmfsDatastoreSingleExtentOption{
			VmfsDatastoreBaseOption: types.VmfsDatastoreBaseOption{Layout: layout}, VmfsExtent: layout.Partition[0],
		}},
		Spec: spec,
	}
	res := &types.QueryVmfsDatastoreCreateOptionsResponse{Returnval: []types.VmfsDatastoreOption{option}}
	return &methods.QueryVmfsDatastoreCreateOptionsBody{Res: res}
}

func (d *datastoreSystem) CreateVmfsDatastore(_ *simulator.Context, req *types.CreateVmfsDatastore) soap.HasFault {
	body := new(methods.CreateVmfsDatastoreBody)
	lun, ok := d.host.lunAt("/vmfs/devices/disks/" + req.Spec.Vmfs.Extent.DiskName)
	fault := types.BaseMethodFault(new(types.NotFound))
	if ok {
		fault = d.host.freeLabel(req.Spec.Vmfs.VolumeName)
	}
	if fault == nil {
		fault = d.host.format(lun, req.Spec.Vmfs.VolumeName)
	}
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	if mounted, fault := d.host.mount(func(v *volume) bool { return v.Name == req.Spec.Vmfs.VolumeName }); fault != nil {
		body.Fault_ = simulator.Fault("the new volume was not mounted", fault)
	} else {
		body.Res = &types.CreateVmfsDatastoreResponse{Returnval: mounted.object.Self}
	}
	return body
}

// mount rescans and waits for the volume.
func (h *host) mount(wanted func(*volume) bool) (*volume, types.BaseMethodFault) {
	h.adapter.rescan()
	for range 200 {
		for _, v := range h.known() {
			if wanted(v) && v.accessible() {
				return v, nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, new(types.HostConfigFault)
}

func (h *host) freeLabel(name string) types.BaseMethodFault {
	for _, v := range h.known() {
		if v.Name == name {
			return &types.DuplicateName{Name: name, Object: v.object.Self}
		}
	}
	return nil
}

// format writes an empty VMFS over whatever the LUN holds, and mounts it.
func (h *host) format(lun foundLUN, label string) types.BaseMethodFault {
	size := (lun.Blocks - min(lun.Blocks, firstExtent)) / extentSectors
	head := volumeHead{UUID: newVolumeUUID(), Label: label, Disk: lun.CanonicalName, Extents: uint32(size)}
	zeros := make([]byte, 64*sectorBytes)
	writes := []struct {
		lba  uint64
		data []byte
	}{{0, zeros}, {claimSector, zeros}}
	for extent := range head.Extents { // no lock and no file of before
		writes = append(writes, struct {
			lba  uint64
			data []byte
		}{extentStart(extent), zeros[:firstRecord*sectorBytes]})
	}
	session, err := openScan(h.adapter.get().way(staticTarget{lun.portal, lun.target}, lun.number), h.adapter.timeout())
	if err == nil {
		defer session.close()
		for _, one := range writes {
			if err = session.write(lun.number, one.lba, one.data); err != nil {
				break
			}
		}
	}
	if err == nil {
		err = session.write(lun.number, 0, head.encode())
	}
	if err != nil {
		log.Printf("formatting %s: %s", lun.CanonicalName, err)
		return new(types.HostConfigFault)
	}
	return nil
}

// ResignatureUnresolvedVmfsVolumeTask gives a copy an identity of its own: a new UUID, and the label with a prefix.
func (d *datastoreSystem) ResignatureUnresolvedVmfsVolumeTask(
	ctx *simulator.Context, req *types.ResignatureUnresolvedVmfsVolume_Task,
) soap.HasFault {
	task := d.host.startTask(ctx, d.host.system.Self, "resignatureUnresolvedVmfsVolume", func(*taskRun) (types.AnyType, types.BaseMethodFault) {
		return d.host.resignature(req.ResolutionSpec.ExtentDevicePath)
	})
	return &methods.ResignatureUnresolvedVmfsVolume_TaskBody{Res: &types.ResignatureUnresolvedVmfsVolume_TaskResponse{Returnval: task}}
}

func (h *host) resignature(extents []string) (types.AnyType, types.BaseMethodFault) {
	if len(extents) != 1 {
		return nil, &types.InvalidArgument{InvalidProperty: "resolutionSpec.extentDevicePath"}
	}
	lun, ok := h.lunAt(strings.TrimSuffix(extents[0], ":1"))
	if !ok || lun.Volume == nil || lun.mountable() {
		return nil, new(types.NotFound)
	}
	head := *lun.Volume
	head.UUID, head.Disk = newVolumeUUID(), lun.CanonicalName
	head.Label = "snap-" + head.UUID[:8] + "-" + head.Label
	if err := h.writeHead(lun.CanonicalName, head); err != nil {
		log.Printf("resignature of %s: %s", lun.CanonicalName, err)
		return nil, new(types.HostConfigFault)
	}
	mounted, fault := h.mount(func(v *volume) bool { return v.UUID == head.UUID })
	if fault != nil {
		return nil, fault
	}
	return types.HostResignatureRescanResult{Result: mounted.object.Self}, nil
}

// writeHead writes a VMFS' identity by a login of its own: the host's session may be waiting for an object that the caller has locked.
func (h *host) writeHead(disk string, head volumeHead) error {
	lun, ok := h.lunAt(disk)
	if !ok {
		return errDisconnected
	}
	session, err := openScan(h.adapter.get().way(staticTarget{lun.portal, lun.target}, lun.number), h.adapter.timeout())
	if err != nil {
		return err
	}
	defer session.close()
	return session.write(lun.number, 0, head.encode())
}

// renameVolume writes the label and puts a renamed volume in place of the old one.
func (h *host) renameVolume(ref types.ManagedObjectReference, label string) types.BaseMethodFault {
	device := h.session.Device()
	for index, v := range h.known() {
		if v.object.Self != ref || v.local {
			continue
		}
		if !v.accessible() {
			return v.inaccessible()
		}
		head := *device.Volume
		head.Label = label
		if err := h.writeHead(device.CanonicalName, head); err != nil {
			log.Printf("renaming %s: %s", v.Name, err)
			return v.inaccessible()
		}
		renamed := *v
		renamed.Name = label
		h.mu.Lock()
		h.volumes[index] = &renamed
		h.mu.Unlock()
		h.adapter.set(func(s *adapterSettings) {
			for i := range s.Volumes {
				if s.Volumes[i].UUID == v.UUID {
					s.Volumes[i].Name = label
				}
			}
		})
		go func() { // the caller holds this object's lock
			ctx := h.as("")
			h.registry.WithLock(ctx, v.object, func() {
				v.object.Name, v.object.Summary.Name = label, label
				h.registry.Update(ctx, v.object, []types.PropertyChange{{Name: "name", Val: label}})
			})
			h.refreshStorage(h.session.Connected())
		}()
		return nil
	}
	return new(types.NotFound)
}
