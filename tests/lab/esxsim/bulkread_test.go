package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const bulkVMs = 500

// vmPaths are what the collection reads of every VM (plugins/module_utils/hypervisor/vm_reading.py).
var vmPaths = []string{
	"name", "summary.config", "runtime.powerState", "runtime.connectionState", "runtime.question", "guestHeartbeatStatus",
	"guest.toolsRunningStatus", "guest.toolsVersionStatus2", "config.version", "config.files", "config.hardware.device", "layoutEx.file",
}

// readVMs reads all VMs of a host in one call, by the collection's traversal, and returns how many there are and how long it took.
func readVMs(client *vim25.Client) (int, time.Duration, error) {
	step := func(name, kind, path string, then ...types.BaseSelectionSpec) *types.TraversalSpec {
		return &types.TraversalSpec{SelectionSpec: types.SelectionSpec{Name: name}, Type: kind, Path: path, Skip: types.NewBool(false), SelectSet: then}
	}
	again := func(name string) types.BaseSelectionSpec { return &types.SelectionSpec{Name: name} }
	toHost := step("host", "ComputeResource", "host", step("vm", "HostSystem", "vm"))
	content := client.ServiceContent
	request := types.RetrievePropertiesEx{
		This: content.PropertyCollector,
		SpecSet: []types.PropertyFilterSpec{{
			ObjectSet: []types.ObjectSpec{{Obj: content.RootFolder, Skip: types.NewBool(true), SelectSet: []types.BaseSelectionSpec{
				step("folder", "Folder", "childEntity", again("folder"), again("datacenter"), toHost),
				step("datacenter", "Datacenter", "hostFolder", again("folder")),
			}}},
			PropSet: []types.PropertySpec{{Type: "VirtualMachine", PathSet: vmPaths}},
		}},
	}
	begun := time.Now()
	response, err := methods.RetrievePropertiesEx(context.Background(), client, &request)
	if err != nil || response.Returnval == nil {
		return 0, 0, err
	}
	return len(response.Returnval.Objects), time.Since(begun), nil
}

// vcsim is govmomi's own simulator of a host with as many VMs, over TLS too.
func vcsim(tb testing.TB) *vim25.Client {
	tb.Helper()
	model := simulator.ESX()
	model.Machine = bulkVMs
	if err := model.Create(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(model.Remove)
	model.Service.TLS = new(tls.Config)
	server := model.Service.NewServer()
	tb.Cleanup(server.Close)
	at := &url.URL{Scheme: "https", Host: server.URL.Host, Path: "/sdk", User: simulator.DefaultLogin}
	client, err := govmomi.NewClient(context.Background(), at, true)
	if err != nil {
		tb.Fatal(err)
	}
	return client.Client
}

// bulkHost is an esxsim host with as many VMs, registered before it boots.
func bulkHost(tb testing.TB) *vim25.Client {
	tb.Helper()
	lab := newAPILab(tb, bulkVMs)
	config := lab.config("esx1")
	known, err := loadRegistrations(config.StateDir)
	for number := range bulkVMs {
		known.VMs = append(known.VMs, registration{number + 1, fmt.Sprintf("[shared] vm%d/vm%d.vmx", number, number)})
	}
	if err = errors.Join(err, known.save(1)); err != nil {
		tb.Fatal(err)
	}
	lab.target.admit("esx1")
	a := lab.boot(config)
	wait(tb, "the VMs' files to be read", func() bool {
		return !slices.ContainsFunc(a.machines(), func(m *machine) bool { return m.connection() != types.VirtualMachineConnectionStateConnected })
	})
	return a.client
}

func best(tb testing.TB, client *vim25.Client) time.Duration {
	tb.Helper()
	shortest := time.Hour
	for range 5 {
		found, took, err := readVMs(client)
		if err != nil || found != bulkVMs {
			tb.Fatalf("%d VMs, %v", found, err)
		}
		shortest = min(shortest, took)
	}
	return shortest
}

func TestBulkReadCostsNoMoreThanVcsims(t *testing.T) {
	theirs, ours := best(t, vcsim(t)), best(t, bulkHost(t))
	t.Logf("%d VMs: esxsim %s, vcsim %s", bulkVMs, ours, theirs)
	if ours > theirs { // the shortest of five, in one process
		t.Errorf("%s, vcsim takes %s", ours, theirs)
	}
}

func BenchmarkBulkRead(b *testing.B) {
	for name, start := range map[string]func(testing.TB) *vim25.Client{"esxsim": bulkHost, "vcsim": vcsim} {
		b.Run(name, func(b *testing.B) {
			client := start(b)
			for b.Loop() {
				if found, _, err := readVMs(client); err != nil || found != bulkVMs {
					b.Fatalf("%d VMs, %v", found, err)
				}
			}
		})
	}
}
