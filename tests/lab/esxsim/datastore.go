package main

import (
	"io/fs"
	"log"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const localCapacity = 64 << 30

// volume is a VMFS volume: its files are in a folder of this machine or on the LUN, its accessibility is the iSCSI session's.
type volume struct {
	DatastoreConfig
	local  bool
	files  fileStore
	host   *host
	object *simulator.Datastore
}

// datastoreObject answers for a Datastore: the simulator's own would read the ds:// URL as a folder.
type datastoreObject struct {
	*simulator.Datastore
	host *host
}

func (d *datastoreObject) RefreshDatastore(_ *simulator.Context, _ *types.RefreshDatastore) soap.HasFault {
	go d.host.refreshStorage(d.host.session.Connected())
	return &methods.RefreshDatastoreBody{Res: new(types.RefreshDatastoreResponse)}
}

// RenameDatastore renames the volume on a bare host's LUN; the other hosts see it at their next rescan.
func (d *datastoreObject) RenameDatastore(_ *simulator.Context, req *types.RenameDatastore) soap.HasFault {
	body := new(methods.RenameDatastoreBody)
	fault := types.BaseMethodFault(new(types.NotSupported))
	if d.host.adapter != nil {
		if fault = d.host.freeLabel(req.NewName); fault == nil {
			fault = d.host.renameVolume(d.Self, req.NewName)
		}
	}
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
	} else {
		body.Res = new(types.RenameDatastoreResponse)
	}
	return body
}

func (d *datastoreObject) DestroyTask(_ *simulator.Context, _ *types.Destroy_Task) soap.HasFault {
	return &methods.Destroy_TaskBody{Fault_: simulator.Fault("", new(types.NotSupported))}
}

func (v *volume) accessible() bool {
	if v.local || v.host.adapter == nil {
		return v.local || v.host.session.Connected()
	}
	device := v.host.session.Device()
	return v.host.session.Connected() && device.Volume.UUID == v.UUID
}

func (v *volume) url() string { return "ds://" + v.mountPath() + "/" }

func (v *volume) mountPath() string { return "/vmfs/volumes/" + v.UUID }

// diskNames are the volume's extents: canonical names of SCSI disks, as far as they are known.
func (v *volume) diskName() string {
	if v.local {
		return "mpx.vmhba0:C0:T0:L0"
	}
	if device := v.host.session.Device(); device != nil && (v.host.adapter == nil || device.Volume != nil && device.Volume.UUID == v.UUID) {
		return device.CanonicalName
	}
	return ""
}

func (v *volume) capacity() int64 {
	if v.local {
		return localCapacity
	}
	if device := v.host.session.Device(); device != nil {
		return device.bytes()
	}
	return 0
}

func (v *volume) stat(relative string) (fs.FileInfo, error) {
	files, err := v.files.open()
	if err != nil {
		return nil, err
	}
	return fs.Stat(files, relative)
}

// free is the capacity less one extent for each VM folder.
func (v *volume) free() int64 {
	return max(0, v.capacity()-int64(firstExtent+v.files.folders()*extentSectors)*sectorBytes)
}

func (v *volume) vmfs() types.HostVmfsVolume {
	volume := types.HostVmfsVolume{
		HostFileSystemVolume: types.HostFileSystemVolume{Type: "VMFS", Name: v.Name, Capacity: v.capacity()},
		BlockSizeMb:          1, BlockSize: 1024, UnmapGranularity: 1024, UnmapPriority: "low", MaxBlocks: 63963136,
		MajorVersion: 6, Version: "6.82", Uuid: v.UUID, Ssd: types.NewBool(false), Local: types.NewBool(v.local), ScsiDiskType: "native512",
	}
	if name := v.diskName(); name != "" {
		volume.Extent = []types.HostScsiDiskPartition{{DiskName: name, Partition: 1}}
	}
	return volume
}

func (v *volume) mountInfo() types.HostMountInfo {
	up := v.accessible()
	info := types.HostMountInfo{
		Path: v.mountPath(), AccessMode: string(types.HostMountModeReadWrite), Mounted: types.NewBool(true), Accessible: &up,
	}
	if !up {
		info.InaccessibleReason = string(types.HostMountInfoInaccessibleReasonAllPathsDown_Start)
	}
	return info
}

// makeVolume puts a datastore into the inventory.
func (h *host) makeVolume(config DatastoreConfig, local bool) *volume {
	v := &volume{DatastoreConfig: config, local: local, files: folderStore(config.Folder), host: h}
	if config.Folder == "" {
		v.files = &lunStore{disk: h.session, timeout: 2 * seconds(h.config.TimeoutS)}
	}
	ds := &simulator.Datastore{}
	ds.Self = types.ManagedObjectReference{Type: "Datastore", Value: config.UUID}
	ds.Name = config.Name
	ds.Browser = types.ManagedObjectReference{Type: "HostDatastoreBrowser", Value: config.UUID + "-browser"}
	ds.Summary = types.DatastoreSummary{
		Datastore: &ds.Self, Name: config.Name, Url: v.url(), MultipleHostAccess: types.NewBool(!local), Type: "VMFS", MaintenanceMode: "normal",
	}
	ds.Capability = types.DatastoreCapability{
		DirectoryHierarchySupported: true, PerFileThinProvisioningSupported: true, RawDiskMappingsSupported: true,
		StorageIORMSupported: false, NativeSnapshotSupported: false, TopLevelDirectoryCreateSupported: types.NewBool(true),
		SeSparseSupported: types.NewBool(true),
	}
	v.object = ds
	ctx := h.as("")
	browser := &datastoreBrowser{volume: v}
	browser.Self = ds.Browser
	browser.Datastore = []types.ManagedObjectReference{ds.Self}
	h.registry.Put(browser)
	folder := h.registry.Get(h.datacenter.DatastoreFolder).(*simulator.Folder)
	h.registry.PutEntity(folder, ds)
	h.registry.AppendReference(ctx, folder, &folder.ChildEntity, ds.Self)
	for _, owner := range []struct {
		object mo.Reference
		list   *[]types.ManagedObjectReference
	}{{h.datacenter, &h.datacenter.Datastore}, {h.system, &h.system.Datastore}, {h.compute, &h.compute.Datastore}} {
		h.registry.AppendReference(ctx, owner.object, owner.list, ds.Self)
	}
	return v
}

// known are the volumes of this moment; a bare host gets more of them while it runs.
func (h *host) known() []*volume {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.volumes)
}

// mountFound mounts the VMFS on the LUN of a bare host, as ESXi mounts what a rescan finds.
func (h *host) mountFound() {
	device := h.session.Device()
	if h.adapter == nil || device == nil || device.Volume == nil || device.Volume.UUID == "" {
		return
	}
	for _, v := range h.known() {
		if v.UUID == device.Volume.UUID {
			return
		}
	}
	config := DatastoreConfig{Name: device.Volume.Label, UUID: device.Volume.UUID}
	v := h.makeVolume(config, false)
	h.mu.Lock()
	h.volumes = append(h.volumes, v)
	h.mu.Unlock()
	h.adapter.set(func(s *adapterSettings) { s.Volumes = append(s.Volumes, config) })
	log.Printf("datastore %s (%s) is mounted", config.Name, config.UUID)
}

// refresh brings the datastore's object up to date.
func (v *volume) refresh() {
	vmfs, mount, free := v.vmfs(), v.mountInfo(), v.free()
	now := time.Now()
	ctx := v.host.as("")
	v.host.registry.WithLock(ctx, v.object, func() {
		summary := v.object.Summary
		summary.Accessible, summary.Capacity, summary.FreeSpace = *mount.Accessible, vmfs.Capacity, free
		v.object.Info = &types.VmfsDatastoreInfo{
			DatastoreInfo: types.DatastoreInfo{
				Name: v.Name, Url: v.url(), FreeSpace: free, MaxFileSize: 64 << 40, MaxVirtualDiskCapacity: 62 << 40, Timestamp: &now,
			},
			MaxPhysicalRDMFileSize: 64 << 40, MaxVirtualRDMFileSize: 62 << 40, Vmfs: &vmfs,
		}
		v.object.Host = []types.DatastoreHostMount{{Key: v.host.system.Self, MountInfo: mount}}
		v.host.registry.Update(ctx, v.object, []types.PropertyChange{
			{Name: "summary", Val: summary},
			{Name: "summary.accessible", Val: summary.Accessible},
		})
	})
}

// locate resolves "[datastore] folder/file" and "/vmfs/volumes/UUID-or-name/folder/file".
func (h *host) locate(name string) (*volume, string, types.BaseMethodFault) {
	var label, rest string
	switch {
	case strings.HasPrefix(name, "["):
		label, rest, _ = strings.Cut(name[1:], "]")
	case strings.HasPrefix(name, "/vmfs/volumes/"):
		label, rest, _ = strings.Cut(strings.TrimPrefix(name, "/vmfs/volumes/"), "/")
	default:
		return nil, "", &types.InvalidDatastorePath{DatastorePath: name}
	}
	rest = strings.TrimSpace(rest)
	for _, v := range h.known() {
		if v.Name == label || v.UUID == label {
			if clean := strings.TrimPrefix(path.Clean("/"+rest), "/"); clean == strings.Trim(rest, "/") {
				return v, clean, nil
			}
			return nil, "", &types.InvalidDatastorePath{DatastorePath: name}
		}
	}
	return nil, "", &types.InvalidDatastorePath{InvalidDatastore: types.InvalidDatastore{Name: label}, DatastorePath: name}
}

func (v *volume) dsPath(relative string) string { return "[" + v.Name + "] " + relative }

// inaccessible is the fault of every operation on a datastore that is not there.
func (v *volume) inaccessible() types.BaseMethodFault {
	return &types.InaccessibleDatastore{InvalidDatastore: types.InvalidDatastore{Datastore: &v.object.Self, Name: v.Name}}
}

func folderOf(object mo.Reference) (*mo.Folder, bool) {
	folder, ok := object.(*simulator.Folder)
	if !ok {
		return nil, false
	}
	return &folder.Folder, true
}
