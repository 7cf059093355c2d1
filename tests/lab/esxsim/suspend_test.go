package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

func (a *apiHost) suspend(vm *object.VirtualMachine) {
	a.lab.t.Helper()
	task, err := vm.Suspend(context.Background())
	if err == nil {
		err = task.Wait(context.Background())
	}
	if err != nil {
		a.lab.t.Fatal(err)
	}
}

func TestSuspendedMemoryIsReadByAnotherHostWithTheSameCPUOnly(t *testing.T) {
	lab := newAPILab(t, 1)
	source := lab.config("esx1")
	source.Offers.CPUFeatures = []string{"cpuid.AVX512F"}
	lab.target.admit("esx1")
	lab.target.admit("esx2")
	lab.target.admit("esx3")
	first := lab.boot(source)
	vm := first.mustRegister("vm0")
	if err := powerOn(vm); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	first.suspend(vm)
	if seen := first.read(vm); seen.Runtime.PowerState != suspended {
		t.Fatalf("it is %s", seen.Runtime.PowerState)
	}
	before, _ := lab.target.records(0)

	other := lab.boot(lab.config("esx2"))
	there := other.mustRegister("vm0")
	if err := powerOn(there); err == nil || !strings.Contains(err.Error(), "AVX512F") {
		t.Fatalf("a host whose CPU lacks what the guest saw resumed it: %v", err)
	}
	if seen := other.read(there); seen.Runtime.PowerState != suspended {
		t.Errorf("a refusal cost its memory: it is %s", seen.Runtime.PowerState)
	}
	equal := lab.config("esx3")
	equal.Offers.CPUFeatures, equal.QuestionOnOtherHost = source.Offers.CPUFeatures, false
	third := lab.boot(equal)
	here := third.mustRegister("vm0")
	if err := powerOn(here); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	after, _ := lab.target.records(0)
	if len(before) == 0 || len(after) <= len(before) {
		t.Fatalf("%d records before, %d after: the workload did not go on", len(before), len(after))
	}
	for number, record := range after {
		if record.Sequence != uint64(number) {
			t.Fatalf("record %d is number %d", number, record.Sequence)
		}
	}
	if seen := third.read(here); seen.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		t.Errorf("it is %s", seen.Runtime.PowerState)
	}
}
