package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/performance"
	"github.com/vmware/govmomi/vim25/types"
)

func (a *apiHost) written(extent uint32) int {
	found, _ := a.lab.target.records(extent)
	return len(found)
}

// stands says that nothing more is written.
func (a *apiHost) stands(extent uint32) bool {
	time.Sleep(100 * time.Millisecond) // a write may be on its way
	before := a.written(extent)
	time.Sleep(200 * time.Millisecond)
	return a.written(extent) == before
}

func (a *apiHost) heartbeat(vm *object.VirtualMachine) types.ManagedEntityStatus {
	seen := a.read(vm)
	if seen.Summary.QuickStats.GuestHeartbeatStatus != seen.GuestHeartbeatStatus {
		a.lab.t.Errorf("heartbeat %s, quick statistics say %s", seen.GuestHeartbeatStatus, seen.Summary.QuickStats.GuestHeartbeatStatus)
	}
	return seen.GuestHeartbeatStatus
}

func (a *apiHost) mustRun(name string) *object.VirtualMachine {
	a.lab.t.Helper()
	vm := a.mustRegister(name)
	if err := powerOn(vm); err != nil {
		a.lab.t.Fatal(err)
	}
	return vm
}

func (a *apiHost) mustObey(orders string) {
	a.lab.t.Helper()
	if err := a.obey(orders); err != nil {
		a.lab.t.Fatal(err)
	}
}

func TestHangingGuestDoesNothingUntilItIsReset(t *testing.T) {
	a := newAPILab(t, 2).start("esx1")
	vm, other := a.mustRun("vm0"), a.mustRun("vm1")
	wait(t, "records", func() bool { return a.written(0) > 3 })
	a.mustObey("hang vm0\n")
	seen := a.read(vm)
	if seen.GuestHeartbeatStatus != "red" || seen.Runtime.PowerState != poweredOn || seen.Guest.ToolsRunningStatus != "guestToolsRunning" {
		t.Errorf("heartbeat %s, %s, %s", seen.GuestHeartbeatStatus, seen.Runtime.PowerState, seen.Guest.ToolsRunningStatus)
	}
	if !a.stands(0) {
		t.Error("it goes on writing")
	}
	if a.stands(1) || a.heartbeat(other) != "green" {
		t.Error("another guest hangs with it")
	}
	text := func() string { all, _ := os.ReadFile(a.config.ExecutionLog); return string(all) }
	ticks := strings.Count(text(), " tick vm0 ")
	wait(t, "execution", func() bool { return strings.Count(text(), " tick vm0 ") > ticks+5 })
	if err := vm.ShutdownGuest(context.Background()); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	time.Sleep(200 * time.Millisecond)
	if a.read(vm).Runtime.PowerState != poweredOn {
		t.Error("a guest that hangs shut down")
	}
	task, err := vm.Reset(context.Background())
	if err == nil {
		err = task.Wait(context.Background())
	}
	if err != nil {
		t.Fatalf("reset: %v", err)
	}
	if status := a.heartbeat(vm); status != "gray" {
		t.Errorf("it boots with heartbeat %s", status)
	}
	before := a.written(0)
	wait(t, "records again", func() bool { return a.written(0) > before && a.heartbeat(vm) == "green" })
	if executions := strings.Count(text(), " start vm0 "); executions != 1 {
		t.Errorf("%d executions", executions)
	}
}

func TestGuestWithoutToolsWritesWithoutHeartbeat(t *testing.T) {
	lab := newAPILab(t, 2)
	path := filepath.Join(lab.folder, "vm1", "vm1.vmx")
	text, _ := os.ReadFile(path)
	lab.write("vm1/vm1.vmx", string(text)+"libreha.tools = \"FALSE\"\n")
	a := lab.start("esx1")
	gone, never := a.mustRun("vm0"), a.mustRun("vm1")
	a.mustObey("tools-gone vm0\n")
	for vm, version := range map[*object.VirtualMachine]string{gone: "guestToolsCurrent", never: "guestToolsNotInstalled"} {
		seen := a.read(vm)
		if seen.GuestHeartbeatStatus != "gray" || seen.Guest.ToolsRunningStatus != "guestToolsNotRunning" || seen.Guest.ToolsVersionStatus2 != version {
			t.Errorf("%s: heartbeat %s, %s, %s", seen.Name, seen.GuestHeartbeatStatus, seen.Guest.ToolsRunningStatus, seen.Guest.ToolsVersionStatus2)
		}
		if err := vm.ShutdownGuest(context.Background()); !isFault(err, &types.ToolsUnavailable{}) {
			t.Errorf("%s: shutdown: %v", seen.Name, err)
		}
	}
	if a.stands(0) || a.stands(1) {
		t.Error("it does not write")
	}
	a.mustObey("wake vm0\n")
	if a.heartbeat(gone) != "green" {
		t.Error("no heartbeat again")
	}
}

func TestOrdersForAGuestThatDoesNotRunHereAreRefused(t *testing.T) {
	a := newAPILab(t, 1).start("esx1")
	a.mustRegister("vm0")
	for _, order := range []string{"hang vm0", "hang vm9", "dance vm0"} {
		if a.obey(order) == nil {
			t.Errorf("%s: obeyed", order)
		}
	}
}

func TestOrdersComeBySignalAndAreAnswered(t *testing.T) {
	a := newAPILab(t, 1).start("esx1")
	vm := a.mustRun("vm0")
	if err := os.WriteFile(filepath.Join(a.config.StateDir, guestOrders), []byte("hang vm0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	answer := filepath.Join(a.config.StateDir, guestAnswer)
	wait(t, "the answer", func() bool { text, _ := os.ReadFile(answer); return string(text) == "done\n" })
	if a.heartbeat(vm) != "red" {
		t.Error("it does not hang")
	}
}

// statistics are the newest samples of a counter, of all its instances together.
func (a *apiHost) statistics(vm *object.VirtualMachine, counter string, most int32) (values []int64, at []time.Time) {
	a.lab.t.Helper()
	manager := performance.NewManager(a.client)
	spec := types.PerfQuerySpec{IntervalId: 20, MaxSample: most, Format: string(types.PerfFormatNormal)}
	found, err := manager.SampleByName(context.Background(), spec, []string{counter}, []types.ManagedObjectReference{vm.Reference()})
	if err != nil {
		a.lab.t.Fatal(err)
	}
	for _, base := range found {
		metric := base.(*types.PerfEntityMetric)
		for _, info := range metric.SampleInfo {
			at = append(at, info.Timestamp)
			values = append(values, 0)
		}
		for _, series := range metric.Value {
			for number, value := range series.(*types.PerfMetricIntSeries).Value {
				values[number] += value
			}
		}
	}
	return values, at
}

func TestStatisticsCountWhatTheGuestReallyWrote(t *testing.T) {
	a := newAPILab(t, 1).start("esx1")
	vm := a.mustRun("vm0")
	moment := time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)
	a.sample(moment) // the guest started within this interval
	if values, _ := a.statistics(vm, "disk.numberWrite.summation", 100); len(values) != 0 {
		t.Errorf("statistics of half an interval: %v", values)
	}
	before := a.written(0)
	wait(t, "records", func() bool { return a.written(0) > before+10 })
	a.mustObey("hang vm0\n")
	if !a.stands(0) {
		t.Fatal("it goes on writing")
	}
	for number := range 3 {
		a.sample(moment.Add(time.Duration(number+1) * sampleEvery))
	}
	values, at := a.statistics(vm, "disk.numberWrite.summation", 100)
	if len(values) != 3 || values[0] < 10 || values[0] > int64(a.written(0)) || values[1] != 0 || values[2] != 0 {
		t.Fatalf("%v of %d records", values, a.written(0))
	}
	if !at[2].Equal(moment.Add(3*sampleEvery)) || at[2].Sub(at[1]) != sampleEvery {
		t.Errorf("samples of %v", at)
	}
	if values, _ := a.statistics(vm, "disk.numberWrite.summation", 2); len(values) != 2 || values[0] != 0 {
		t.Errorf("the newest two: %v", values)
	}
	task, err := vm.PowerOff(context.Background())
	if err == nil {
		err = task.Wait(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	a.sample(moment.Add(4 * sampleEvery))
	if values, _ := a.statistics(vm, "disk.numberWrite.summation", 100); len(values) != 0 {
		t.Errorf("statistics of a VM that is off: %v", values)
	}
}
