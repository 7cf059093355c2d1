package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// CreateVMTask makes a VM's folder and .vmx, on the LUN an extent for its disks beside them, and registers it.
func (f *vmFolder) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{
		Returnval: f.host.startTask(ctx, f.Self, "createVm", func(t *taskRun) (types.AnyType, types.BaseMethodFault) {
			return f.host.create(t.user, &req.Config)
		}),
	}}
}

func (h *host) create(user string, spec *types.VirtualMachineConfigSpec) (types.AnyType, types.BaseMethodFault) {
	if spec.Name == "" || spec.Files == nil || strings.ContainsAny(spec.Name, "/\\") {
		return nil, &types.InvalidArgument{InvalidProperty: "config"}
	}
	v, inside, fault := h.locate(spec.Files.VmPathName)
	switch {
	case fault != nil:
		return nil, fault
	case inside != "": // ESXi takes a path too; ours names the datastore and lets the host choose
		return nil, &types.InvalidArgument{InvalidProperty: "config.files.vmPathName"}
	case !v.accessible():
		return nil, v.inaccessible()
	}
	folder := h.freeFolder(v, spec.Name)
	release, extent, fault := h.newExtent(v)
	if fault != nil {
		return nil, fault
	}
	defer release()
	file := &vmxFile{store: v.files, path: path.Join(folder, spec.Name+".vmx")}
	for _, line := range [][2]string{
		{".encoding", "UTF-8"}, {"config.version", "8"}, {"virtualHW.version", "19"}, {"displayName", spec.Name}, {"guestOS", "other"},
		{"memSize", "32"}, {"numvcpus", "1"}, {"uuid.bios", vmwareUUID(uuid.New())}, {"vc.uuid", vmwareUUID(uuid.New())},
	} {
		file.set(line[0], line[1])
	}
	if extent != nil {
		file.set("libreha.extent", strconv.Itoa(int(*extent)))
	}
	if err := v.files.add(folder, extent, map[string]string{spec.Name + ".vmx": file.text()}); err != nil {
		log.Printf("creating %s: %s", spec.Name, err)
		return nil, &types.FileAlreadyExists{FileFault: types.FileFault{File: v.dsPath(folder)}}
	}
	if fault := h.configure(v, file, spec); fault != nil {
		return nil, fault
	}
	entry, _, err := h.registered.add(v.dsPath(file.path))
	if err != nil {
		log.Printf("registrations: %s", err)
		return nil, &types.HostConfigFault{}
	}
	m := h.addMachine(entry)
	h.post(user, &types.VmCreatedEvent{VmEvent: m.vmEvent("Created virtual machine %s on %s")})
	return m.Self, nil
}

// freeFolder is the VM's name, with a number where there is such a folder already, as on ESXi.
func (h *host) freeFolder(v *volume, name string) string {
	folder := name
	for number := 1; ; number++ {
		if _, err := v.stat(folder); errors.Is(err, fs.ErrNotExist) {
			return folder
		}
		folder = fmt.Sprintf("%s_%d", name, number)
	}
}

// newExtent finds an extent that no VM has and holds its lock until release: two hosts that create at once do not get the same. A local
// datastore has none.
func (h *host) newExtent(v *volume) (release func(), extent *uint32, fault types.BaseMethodFault) {
	if v.local {
		return func() {}, nil, nil
	}
	device := h.session.Device()
	if device == nil || device.Volume == nil {
		return nil, nil, v.inaccessible()
	}
	count := device.Volume.Extents
	if count == 0 { // a LUN that the lab prepared need not say it
		count = uint32((device.Blocks - firstExtent) / extentSectors)
	}
	for number := range count {
		if taken, err := v.extentTaken(number); err != nil {
			return nil, nil, v.inaccessible()
		} else if taken {
			continue
		}
		lock, err := h.locks.acquire(2*seconds(h.config.TimeoutS), number, newExecutionID())
		if err != nil {
			continue // another host is at it
		}
		release = func() {
			ctx, cancel := context.WithTimeout(context.Background(), seconds(h.config.TimeoutS))
			defer cancel()
			if err := lock.release(ctx); err != nil {
				log.Printf("releasing extent %d: %s", number, err)
			}
		}
		if taken, err := v.extentTaken(number); err == nil && !taken {
			return release, &number, nil
		}
		release()
	}
	return nil, nil, &types.NoDiskSpace{Datastore: v.Name}
}

// extentTaken: whether a VM's .vmx names it.
func (v *volume) extentTaken(extent uint32) (bool, error) {
	files, err := v.files.open()
	if err != nil {
		return false, err
	}
	taken := false
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".vmx") {
			return err
		}
		if file, err := readVMX(v.files, name); err == nil {
			number, has, err := extentOf(file)
			taken = taken || has && err == nil && number == extent
		}
		return nil
	})
	return taken, err
}

// ReconfigVMTask changes a VM that is off.
func (m *machine) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{
		Returnval: m.host.startTask(ctx, m.Self, "reconfigure", m.exclusively(func(t *taskRun) (types.AnyType, types.BaseMethodFault) {
			return nil, m.reconfigure(t.user, &req.Spec)
		})),
	}}
}

func (m *machine) reconfigure(user string, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	m.mu.Lock()
	power := m.power
	m.mu.Unlock()
	switch {
	case power != poweredOff:
		return &types.InvalidPowerState{RequestedState: poweredOff, ExistingState: power}
	case !m.volume.accessible():
		return m.volume.inaccessible()
	}
	file, err := readVMX(m.volume.files, m.relative)
	if err != nil {
		return fileFault(m.dsPath(), err)
	}
	extent, has, err := extentOf(file)
	if err != nil {
		return &types.GenericVmConfigFault{Reason: err.Error()}
	}
	if has && !m.volume.local { // nobody runs it while its files change
		lock, err := m.host.locks.acquire(2*seconds(m.host.config.TimeoutS), extent, newExecutionID())
		if err != nil {
			return m.diskFault(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), seconds(m.host.config.TimeoutS))
			defer cancel()
			_ = lock.release(ctx)
		}()
	}
	if fault := m.host.configure(m.volume, file, spec); fault != nil {
		return fault
	}
	m.load()
	m.host.post(user, &types.VmReconfiguredEvent{VmEvent: m.vmEvent("Reconfigured %s on %s"), ConfigSpec: types.VirtualMachineConfigSpec{}})
	return nil
}

// configure writes what a spec says into the .vmx, and the files of new disks beside it.
func (h *host) configure(v *volume, file *vmxFile, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	set := func(key, value string) {
		if value != "" && value != "0" {
			file.set(key, value)
		}
	}
	set("numvcpus", strconv.Itoa(int(spec.NumCPUs)))
	set("memSize", strconv.FormatInt(spec.MemoryMB, 10))
	set("annotation", spec.Annotation)
	set("firmware", spec.Firmware)
	set("guestOS", strings.ReplaceAll(strings.TrimSuffix(spec.GuestId, "Guest"), "_", "-"))
	for _, option := range spec.ExtraConfig {
		set(option.GetOptionValue().Key, fmt.Sprint(option.GetOptionValue().Value))
	}
	for _, change := range spec.DeviceChange {
		one := change.GetVirtualDeviceConfigSpec()
		if one.Operation != types.VirtualDeviceConfigSpecOperationAdd {
			return new(types.NotSupported)
		}
		if fault := h.addDevice(v, file, one); fault != nil {
			return fault
		}
	}
	if err := file.save(); err != nil {
		return fileFault(v.dsPath(file.path), err)
	}
	return nil
}

func (h *host) addDevice(v *volume, file *vmxFile, change *types.VirtualDeviceConfigSpec) types.BaseMethodFault {
	unit := int32(0)
	if number := change.Device.GetVirtualDevice().UnitNumber; number != nil {
		unit = *number
	}
	switch device := change.Device.(type) {
	case *types.ParaVirtualSCSIController:
		file.set("scsi0.present", "TRUE")
		file.set("scsi0.virtualDev", "pvscsi")
	case *types.VirtualAHCIController:
		file.set("sata0.present", "TRUE")
	case *types.VirtualDisk:
		return h.addDisk(v, file, device, change.FileOperation == types.VirtualDeviceConfigSpecFileOperationCreate, unit)
	case *types.VirtualCdrom:
		iso, ok := device.Backing.(*types.VirtualCdromIsoBackingInfo)
		if !ok {
			return &types.InvalidDeviceBacking{}
		}
		at, relative, fault := h.locate(iso.FileName)
		if fault != nil {
			return fault
		}
		if _, err := at.stat(relative); err != nil {
			return &types.FileNotFound{FileFault: types.FileFault{File: iso.FileName}}
		}
		prefix := fmt.Sprintf("sata0:%d", unit)
		file.set(prefix+".present", "TRUE")
		file.set(prefix+".deviceType", "cdrom-image")
		file.set(prefix+".fileName", at.mountPath()+"/"+relative)
	case types.BaseVirtualEthernetCard:
		backing, ok := device.GetVirtualEthernetCard().Backing.(*types.VirtualEthernetCardNetworkBackingInfo)
		if !ok {
			return &types.InvalidDeviceBacking{}
		}
		if _, known := h.networks[backing.DeviceName]; !known {
			return &types.InvalidDeviceBacking{}
		}
		for number := range 10 {
			prefix := fmt.Sprintf("ethernet%d", number)
			if !file.yes(prefix + ".present") {
				file.set(prefix+".present", "TRUE")
				file.set(prefix+".virtualDev", "vmxnet3")
				file.set(prefix+".networkName", backing.DeviceName)
				return nil
			}
		}
		return &types.TooManyDevices{}
	default:
		return new(types.NotSupported)
	}
	return nil
}

func (h *host) addDisk(v *volume, file *vmxFile, disk *types.VirtualDisk, create bool, unit int32) types.BaseMethodFault {
	backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	prefix := fmt.Sprintf("scsi0:%d", unit)
	if !ok || !file.yes("scsi0.present") || file.yes(prefix+".present") {
		return &types.InvalidDeviceSpec{}
	}
	folder, name := path.Split(file.path)
	at, relative, fault := h.locate(backing.FileName)
	if fault != nil {
		return fault
	}
	if create && relative == "" {
		base := strings.TrimSuffix(name, ".vmx")
		if relative = path.Join(folder, base+".vmdk"); unit > 0 {
			relative = path.Join(folder, fmt.Sprintf("%s_%d.vmdk", base, unit))
		}
	}
	_, err := at.stat(relative)
	switch {
	case create && err == nil:
		return &types.FileAlreadyExists{FileFault: types.FileFault{File: at.dsPath(relative)}}
	case create:
		if err := at.files.replace(relative, newDescriptor(relative, disk.CapacityInKB*2)); err != nil {
			return fileFault(at.dsPath(relative), err)
		}
	case err != nil:
		return &types.FileNotFound{FileFault: types.FileFault{File: backing.FileName}}
	}
	file.set(prefix+".present", "TRUE")
	file.set(prefix+".deviceType", "scsi-hardDisk")
	file.set(prefix+".fileName", path.Base(relative))
	if at != v || path.Clean(path.Dir(relative)) != path.Clean(folder) {
		file.set(prefix+".fileName", at.mountPath()+"/"+relative)
	}
	return nil
}

func newDescriptor(name string, sectors int64) []byte {
	flat := strings.TrimSuffix(path.Base(name), ".vmdk") + "-flat.vmdk"
	return fmt.Appendf(nil, "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=ffffffff\ncreateType=\"vmfs\"\nRW %d VMFS \"%s\"\nddb.uuid = \"%s\"\n",
		uint32(time.Now().UnixNano()), sectors, flat, vmwareUUID(uuid.New()))
}

// diskManager copies and extends disks. Their content is not: a guest's writes go to its extent, whatever its disks.
type diskManager struct {
	*simulator.VirtualDiskManager
	host *host
}

func (d *diskManager) CopyVirtualDiskTask(ctx *simulator.Context, req *types.CopyVirtualDisk_Task) soap.HasFault {
	return &methods.CopyVirtualDisk_TaskBody{Res: &types.CopyVirtualDisk_TaskResponse{
		Returnval: d.host.startTask(ctx, d.host.system.Self, "copyVirtualDisk", func(*taskRun) (types.AnyType, types.BaseMethodFault) {
			from, source, fault := d.host.disk(req.SourceName)
			if fault != nil {
				return nil, fault
			}
			to, relative, fault := d.host.locate(req.DestName)
			if fault != nil {
				return nil, fault
			}
			if _, err := to.stat(relative); err == nil {
				return nil, &types.FileAlreadyExists{FileFault: types.FileFault{File: req.DestName}}
			}
			if _, err := to.stat(path.Dir(relative)); err != nil {
				return nil, &types.FileNotFound{FileFault: types.FileFault{File: to.dsPath(path.Dir(relative))}}
			}
			return nil, d.write(to, relative, readDescriptor(from, source).sectors)
		}),
	}}
}

func (d *diskManager) ExtendVirtualDiskTask(ctx *simulator.Context, req *types.ExtendVirtualDisk_Task) soap.HasFault {
	return &methods.ExtendVirtualDisk_TaskBody{Res: &types.ExtendVirtualDisk_TaskResponse{
		Returnval: d.host.startTask(ctx, d.host.system.Self, "extendVirtualDisk", func(*taskRun) (types.AnyType, types.BaseMethodFault) {
			v, relative, fault := d.host.disk(req.Name)
			if fault != nil {
				return nil, fault
			}
			if readDescriptor(v, relative).sectors > req.NewCapacityKb*2 {
				return nil, &types.InvalidArgument{InvalidProperty: "newCapacityKb"}
			}
			return nil, d.write(v, relative, req.NewCapacityKb*2)
		}),
	}}
}

func (d *diskManager) write(v *volume, relative string, sectors int64) types.BaseMethodFault {
	if err := v.files.replace(relative, newDescriptor(relative, sectors)); err != nil {
		return fileFault(v.dsPath(relative), err)
	}
	return nil
}

// disk finds a disk that is there.
func (h *host) disk(name string) (*volume, string, types.BaseMethodFault) {
	v, relative, fault := h.locate(name)
	if fault != nil {
		return nil, "", fault
	}
	if !v.accessible() {
		return nil, "", v.inaccessible()
	}
	if _, err := v.stat(relative); errors.Is(err, os.ErrNotExist) || !strings.HasSuffix(relative, ".vmdk") {
		return nil, "", &types.FileNotFound{FileFault: types.FileFault{File: name}}
	}
	return v, relative, nil
}
