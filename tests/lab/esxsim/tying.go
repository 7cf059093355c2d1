package main

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// What ties a VM to its host, by the settings that ESXi writes into a .vmx.

// tyingDevices are the devices of a VM that a host must have, or that are the host's own.
func (m *machine) tyingDevices(file *vmxFile) []types.BaseVirtualDevice {
	var devices []types.BaseVirtualDevice
	for number := range int32(16) {
		prefix := fmt.Sprintf("pciPassthru%d", number)
		if file.yes(prefix + ".present") {
			devices = append(devices, &types.VirtualPCIPassthrough{VirtualDevice: deviceNamed(
				13000+number, fmt.Sprintf("PCI device %d", number), pciBacking(file, prefix))})
		}
		if name := file.get(fmt.Sprintf("usb.autoConnect.device%d", number)); name != "" {
			devices = append(devices, &types.VirtualUSB{Connected: true, VirtualDevice: deviceNamed(
				7001+number, fmt.Sprintf("USB %d", number+1), &types.VirtualUSBUSBBackingInfo{
					VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: name},
				})})
		}
	}
	for number := range int32(4) {
		devices = append(devices, m.portsOf(file, number)...)
	}
	for _, place := range []string{"ide0:0", "ide0:1", "ide1:0", "ide1:1", "sata0:0", "sata0:1", "sata0:2"} {
		if file.yes(place+".present") && strings.Contains(file.get(place+".deviceType"), "cdrom") {
			devices = append(devices, m.cdromOf(file, place, int32(len(devices))))
		}
	}
	if file.yes("vtpm.present") {
		devices = append(devices, &types.VirtualTPM{VirtualDevice: deviceNamed(11000, "Virtual TPM", nil)})
	}
	return devices
}

// portsOf are serial and parallel port and floppy drive of one number.
func (m *machine) portsOf(file *vmxFile, number int32) []types.BaseVirtualDevice {
	var devices []types.BaseVirtualDevice
	add := func(kind, label string, key int32, make func(types.VirtualDevice) types.BaseVirtualDevice,
		host func(string) types.BaseVirtualDeviceBackingInfo, image func(types.VirtualDeviceFileBackingInfo) types.BaseVirtualDeviceBackingInfo) {
		prefix := fmt.Sprintf("%s%d", kind, number)
		if !file.yes(prefix + ".present") {
			return
		}
		var backing types.BaseVirtualDeviceBackingInfo
		if file.get(prefix+".fileType") == "file" {
			backing = image(m.imageBacking(file.get(prefix + ".fileName")))
		} else {
			backing = host(file.get(prefix + ".fileName"))
		}
		device := deviceNamed(key+number, fmt.Sprintf("%s %d", label, number+1), backing)
		device.Connectable = connectable(file, prefix)
		devices = append(devices, make(device))
	}
	named := func(name string) types.VirtualDeviceDeviceBackingInfo {
		return types.VirtualDeviceDeviceBackingInfo{DeviceName: name}
	}
	add("serial", "Serial port", 9000, func(d types.VirtualDevice) types.BaseVirtualDevice { return &types.VirtualSerialPort{VirtualDevice: d} },
		func(name string) types.BaseVirtualDeviceBackingInfo {
			return &types.VirtualSerialPortDeviceBackingInfo{VirtualDeviceDeviceBackingInfo: named(name)}
		}, func(file types.VirtualDeviceFileBackingInfo) types.BaseVirtualDeviceBackingInfo {
			return &types.VirtualSerialPortFileBackingInfo{VirtualDeviceFileBackingInfo: file}
		})
	add("parallel", "Parallel port", 10000, func(d types.VirtualDevice) types.BaseVirtualDevice {
		return &types.VirtualParallelPort{VirtualDevice: d}
	},
		func(name string) types.BaseVirtualDeviceBackingInfo {
			return &types.VirtualParallelPortDeviceBackingInfo{VirtualDeviceDeviceBackingInfo: named(name)}
		}, func(file types.VirtualDeviceFileBackingInfo) types.BaseVirtualDeviceBackingInfo {
			return &types.VirtualParallelPortFileBackingInfo{VirtualDeviceFileBackingInfo: file}
		})
	add("floppy", "Floppy drive", 8000, func(d types.VirtualDevice) types.BaseVirtualDevice { return &types.VirtualFloppy{VirtualDevice: d} },
		func(name string) types.BaseVirtualDeviceBackingInfo {
			return &types.VirtualFloppyDeviceBackingInfo{VirtualDeviceDeviceBackingInfo: named(name)}
		}, func(file types.VirtualDeviceFileBackingInfo) types.BaseVirtualDeviceBackingInfo {
			return &types.VirtualFloppyImageBackingInfo{VirtualDeviceFileBackingInfo: file}
		})
	return devices
}

func (m *machine) cdromOf(file *vmxFile, place string, number int32) types.BaseVirtualDevice {
	var backing types.BaseVirtualDeviceBackingInfo
	if name := file.get(place + ".fileName"); file.get(place+".deviceType") == "cdrom-image" {
		backing = &types.VirtualCdromIsoBackingInfo{VirtualDeviceFileBackingInfo: m.imageBacking(name)}
	} else {
		backing = &types.VirtualCdromAtapiBackingInfo{VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: name}}
	}
	device := deviceNamed(3000+number, "CD/DVD drive 1", backing)
	device.Connectable = connectable(file, place)
	return &types.VirtualCdrom{VirtualDevice: device}
}

func deviceNamed(key int32, label string, backing types.BaseVirtualDeviceBackingInfo) types.VirtualDevice {
	return types.VirtualDevice{Key: key, DeviceInfo: &types.Description{Label: label, Summary: label}, Backing: backing}
}

// connectable says whether a removable device is connected at power on: unless the .vmx says no.
func connectable(file *vmxFile, prefix string) *types.VirtualDeviceConnectInfo {
	start := !strings.EqualFold(file.get(prefix+".startConnected"), "false")
	return &types.VirtualDeviceConnectInfo{StartConnected: start, AllowGuestControl: true, Connected: start, Status: "untried"}
}

// imageBacking shows a file by its datastore where the host has it, else by the path that the .vmx has.
func (m *machine) imageBacking(name string) types.VirtualDeviceFileBackingInfo {
	if volume, relative := m.besides(name); volume != nil {
		return types.VirtualDeviceFileBackingInfo{FileName: volume.dsPath(relative), Datastore: &volume.object.Self}
	}
	return types.VirtualDeviceFileBackingInfo{FileName: "[] " + path.Clean(name)}
}

func pciBacking(file *vmxFile, prefix string) types.BaseVirtualDeviceBackingInfo {
	if profile := file.get(prefix + ".vgpu"); profile != "" {
		return &types.VirtualPCIPassthroughVmiopBackingInfo{Vgpu: profile}
	}
	id := file.get(prefix + ".id")
	return &types.VirtualPCIPassthroughDeviceBackingInfo{
		VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: id}, Id: id, SystemId: file.get(prefix + ".systemId"),
		DeviceId: file.get(prefix + ".deviceId"), VendorId: int16(file.number(prefix+".vendorId", 0)),
	}
}

// The key's id is the last part of the fully qualified id in the key safe: vmware:key/list/(pair/(fqid/<VMWARE-NULL>/PROVIDER/KEY,...
var keyInSafe = regexp.MustCompile(`\(fqid/[^/]*/[^/]*/([^,)]+)`)

func encryptionKey(file *vmxFile) string {
	if found := keyInSafe.FindStringSubmatch(file.get("encryption.keySafe")); found != nil {
		return found[1]
	}
	return ""
}

// lacksFor says what this host has not without which the VM does not power on; empty when nothing.
func (h *host) lacksFor(file *vmxFile) string {
	offers := h.config.Offers
	for number := range 16 {
		prefix := fmt.Sprintf("pciPassthru%d", number)
		if !file.yes(prefix + ".present") {
			continue
		}
		if profile := file.get(prefix + ".vgpu"); profile != "" && !slices.Contains(offers.VGPUProfiles, profile) {
			return "Could not initialize plugin 'libnvidia-vgx.so' for vGPU '" + profile + "'."
		} else if id := file.get(prefix + ".id"); profile == "" && (!slices.Contains(offers.PCIDevices, id) || file.get(prefix+".systemId") != h.config.UUID) {
			return "Device " + id + " is not a passthrough device."
		}
	}
	switch key := encryptionKey(file); {
	case key != "" && !slices.Contains(offers.EncryptionKeys, key):
		return "Cannot open the configuration file: the key " + key + " is missing on this host."
	case file.yes("vhv.enable") && !offers.NestedVirtualization:
		return "This host does not support virtualized Intel VT-x/EPT."
	case file.yes("vpmc.enable") && !offers.PerformanceCounters:
		return "Virtualized performance counters are not supported on the host CPU."
	}
	return ""
}

// cpuFeatures are what the host's CPU offers to VMs.
func (h *host) cpuFeatures() []string {
	return append([]string{"cpuid.AES", "cpuid.AVX2", "cpuid.SSE42"}, h.config.Offers.CPUFeatures...)
}

// describeOffers shows what the host has for such VMs.
func (h *host) describeOffers() {
	offers, s := h.config.Offers, &h.system.HostSystem
	capability := types.HostCapability{}
	if s.Capability != nil {
		capability = *s.Capability
	}
	capability.NestedHVSupported, capability.VPMCSupported = offers.NestedVirtualization, offers.PerformanceCounters
	s.Capability = &capability
	s.Config.SharedPassthruGpuTypes = offers.VGPUProfiles
	s.Config.FeatureCapability = nil
	for _, feature := range h.cpuFeatures() {
		s.Config.FeatureCapability = append(s.Config.FeatureCapability, types.HostFeatureCapability{Key: feature, FeatureName: feature, Value: "1"})
	}
	s.Runtime.CryptoState = string(types.HostCryptoStateIncapable)
	if len(offers.EncryptionKeys) > 0 {
		s.Runtime.CryptoState = string(types.HostCryptoStateSafe)
	}
}

// cryptoManager holds the keys that the host has.
type cryptoManager struct {
	mo.CryptoManagerHost
	host *host
}

var cryptoManagerReference = types.ManagedObjectReference{Type: "CryptoManagerHost", Value: "ha-crypto-manager"}

func (h *host) cryptoManager() mo.Reference {
	c := &cryptoManager{host: h}
	c.Self, c.Enabled = cryptoManagerReference, len(h.config.Offers.EncryptionKeys) > 0
	return c
}

// ListKeys names the keys.
func (c *cryptoManager) ListKeys(*simulator.Context, *types.ListKeys) soap.HasFault {
	response := new(types.ListKeysResponse)
	for _, key := range c.host.config.Offers.EncryptionKeys {
		response.Returnval = append(response.Returnval, types.CryptoKeyId{KeyId: key})
	}
	return &methods.ListKeysBody{Res: response}
}
