package main

import (
	"context"
	"strings"
	"testing"

	"github.com/vmware/govmomi/vim25/types"
)

// ties are settings of a VM, and what a host must have for it.
var ties = []struct{ name, settings, refusal, device string }{
	{"vgpu", "pciPassthru0.present = \"TRUE\"\npciPassthru0.vgpu = \"grid_p40-2q\"\n", "grid_p40-2q", "VirtualPCIPassthrough"},
	{"key", "vtpm.present = \"TRUE\"\nencryption.keySafe = \"vmware:key/list/(pair/(fqid/<VMWARE-NULL>/kms/key-1,HMAC,x))\"\n", "key-1", "VirtualTPM"},
	{"nested", "vhv.enable = \"TRUE\"\n", "VT-x", ""},
	{"counters", "vpmc.enable = \"TRUE\"\n", "performance counters", ""},
}

func TestAVMPowersOnOnlyWhereWhatItNeedsIs(t *testing.T) {
	lab := newAPILab(t, len(ties))
	without := lab.start("esx1")
	lab.target.admit("esx2")
	config := lab.config("esx2")
	config.Offers = OffersConfig{
		VGPUProfiles: []string{"grid_p40-2q"}, EncryptionKeys: []string{"key-1"}, NestedVirtualization: true, PerformanceCounters: true,
	}
	with := lab.boot(config)
	for number, tie := range ties {
		name := []string{"vm0", "vm1", "vm2", "vm3"}[number]
		lab.append(name+"/"+name+".vmx", tie.settings)
		task, err := without.mustRegister(name).PowerOn(context.Background())
		if err == nil {
			err = task.Wait(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), tie.refusal) {
			t.Errorf("%s: it should not power on, and says why: %v", tie.name, err)
		}
		vm := with.mustRegister(name)
		if task, err = vm.PowerOn(context.Background()); err == nil {
			err = task.Wait(context.Background())
		}
		if err != nil {
			t.Errorf("%s: %v", tie.name, err)
		}
		devices, err := vm.Device(context.Background())
		found := devices.Select(func(device types.BaseVirtualDevice) bool { return devices.TypeName(device) == tie.device })
		if err != nil || tie.device != "" && len(found) != 1 {
			t.Errorf("%s: no %s: %v %v", tie.name, tie.device, devices, err)
		}
	}
}
