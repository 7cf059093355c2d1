package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// apiLab is some hosts in this process, with one target and one datastore, asked through TLS.
type apiLab struct {
	t      testing.TB
	target *target
	folder string
	ds     string
	hosts  int // configured so far; the next one's index
}

func newAPILab(t testing.TB, vms int) *apiLab {
	lab := &apiLab{t: t, target: startTarget(t, vms), folder: t.TempDir(), ds: uuid.NewString()}
	for number := range vms {
		name := fmt.Sprintf("vm%d", number)
		if err := os.Mkdir(filepath.Join(lab.folder, name), 0o755); err != nil {
			t.Fatal(err)
		}
		lab.write(name+"/"+name+".vmx", fmt.Sprintf("displayName = \"%s\"\nmemSize = \"512\"\nuuid.bios = \"%s\"\nvirtualHW.version = \"19\"\n"+
			"guestOS = \"debian11-64\"\nscsi0.present = \"TRUE\"\nscsi0:0.present = \"TRUE\"\nscsi0:0.fileName = \"%s.vmdk\"\nlibreha.extent = \"%d\"\n",
			name, vmwareUUID(uuid.New()), name, number))
		lab.write(name+"/"+name+".vmdk", fmt.Sprintf("# Disk DescriptorFile\nRW 131072 VMFS \"%s-flat.vmdk\"\n", name))
	}
	return lab
}

func (l *apiLab) write(name, content string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.folder, name), []byte(content), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func (l *apiLab) append(name, content string) {
	l.t.Helper()
	before, err := os.ReadFile(filepath.Join(l.folder, name))
	if err != nil {
		l.t.Fatal(err)
	}
	l.write(name, string(before)+content)
}

// config is a host's, with its own certificate and a free port.
func (l *apiLab) config(name string) *Config {
	l.t.Helper()
	home := l.t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		l.t.Fatal(err)
	}
	private, _ := x509.MarshalPKCS8PrivateKey(key)
	for file, block := range map[string]*pem.Block{"tls.pem": {Type: "CERTIFICATE", Bytes: certificate}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(home, file), pem.EncodeToMemory(block), 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	defer probe.Close()
	c := &Config{
		Name: name, UUID: uuid.NewString(), Address: "127.0.0.1", Port: probe.Addr().(*net.TCPAddr).Port, Username: "root", Password: "secret",
		Certificate: filepath.Join(home, "tls.pem"), Key: filepath.Join(home, "tls.key"), StateDir: home, ExecutionLog: filepath.Join(home, "execution.log"),
		MemoryMiB: 65536, CPUCores: 16, CPUMHz: 2400, Networks: []string{"VM Network"},
		ISCSI:     ISCSIConfig{Initiator: initiatorName(name), Portal: l.target.portal, Target: testTarget, LUN: 1, HostIndex: l.hosts},
		Datastore: DatastoreConfig{Name: "shared", UUID: l.ds, Folder: l.folder}, LeaseSeconds: 1, RecordIntervalMS: 20, HeartbeatIntervalMS: 100,
		LoginRetryMS: 50, TimeoutS: 2, QuestionOnOtherHost: true, SessionIdleS: 1800,
	}
	l.hosts++
	c.Product.Version, c.Product.Build = "8.0.3", "1"
	if err := c.check(); err != nil {
		l.t.Fatal(err)
	}
	return c
}

// apiHost is a running host and a client that is logged in.
type apiHost struct {
	*host
	lab    *apiLab
	client *vim25.Client
	crash  func()
}

func (l *apiLab) boot(config *Config) *apiHost {
	l.t.Helper()
	h, err := newHost(config)
	if err != nil {
		l.t.Fatal(err)
	}
	server, err := listen(h)
	if err != nil {
		l.t.Fatal(err)
	}
	halt := h.boot()
	crashed := false
	crash := func() {
		if !crashed {
			crashed = true
			_ = server.Close()
			halt()
		}
	}
	l.t.Cleanup(crash)
	a := &apiHost{host: h, lab: l, crash: crash}
	if a.client, err = a.login(config.Password); err != nil {
		l.t.Fatal(err)
	}
	wait(l.t, "the datastore of "+config.Name, h.session.Connected)
	return a
}

func (l *apiLab) start(name string) *apiHost {
	l.t.Helper()
	l.target.admit(name)
	return l.boot(l.config(name))
}

func (a *apiHost) login(password string) (*vim25.Client, error) {
	at := &url.URL{Scheme: "https", Host: fmt.Sprintf("127.0.0.1:%d", a.config.Port), Path: "/sdk"}
	transport := soap.NewClient(at, false)
	if err := transport.SetRootCAs(a.config.Certificate); err != nil { // verified, never insecure
		return nil, err
	}
	client, err := vim25.NewClient(context.Background(), transport)
	if err != nil {
		return nil, err
	}
	return client, session.NewManager(client).Login(context.Background(), url.UserPassword(a.config.Username, password))
}

func (a *apiHost) register(name string) (*object.VirtualMachine, error) {
	ctx := context.Background()
	folder := object.NewFolder(a.client, a.vmFolder.Self)
	task, err := folder.RegisterVM(ctx, "[shared] "+name+"/"+name+".vmx", "", false, object.NewResourcePool(a.client, a.pool.Self), nil)
	if err != nil {
		return nil, err
	}
	info, err := task.WaitForResult(ctx)
	if err != nil {
		return nil, err
	}
	return object.NewVirtualMachine(a.client, info.Result.(types.ManagedObjectReference)), nil
}

func (a *apiHost) mustRegister(name string) *object.VirtualMachine {
	a.lab.t.Helper()
	vm, err := a.register(name)
	if err != nil {
		a.lab.t.Fatal(err)
	}
	return vm
}

func powerOn(vm *object.VirtualMachine) error {
	task, err := vm.PowerOn(context.Background())
	if err != nil {
		return err
	}
	return task.Wait(context.Background())
}

func (a *apiHost) read(vm *object.VirtualMachine) (seen mo.VirtualMachine) {
	a.lab.t.Helper()
	if err := property.DefaultCollector(a.client).RetrieveOne(context.Background(), vm.Reference(), nil, &seen); err != nil {
		a.lab.t.Fatal(err)
	}
	return seen
}

func isFault(err error, kind types.BaseMethodFault) bool {
	return err != nil && fault.Is(err, kind)
}

func TestWrongPasswordAndExpiredSessionAreRefused(t *testing.T) {
	lab := newAPILab(t, 1)
	config := lab.config("esx1")
	config.SessionIdleS = 0.3
	lab.target.admit("esx1")
	a := lab.boot(config)
	if _, err := a.login("wrong"); !isFault(err, &types.InvalidLogin{}) {
		t.Errorf("wrong password: %v", err)
	}
	wait(t, "the session to expire", func() bool { time.Sleep(400 * time.Millisecond); return true })
	var seen mo.HostSystem
	err := property.DefaultCollector(a.client).RetrieveOne(context.Background(), a.system.Self, []string{"name"}, &seen)
	if !isFault(err, &types.NotAuthenticated{}) {
		t.Errorf("expired session: %v", err)
	}
}

func TestSecondHostIsLockedOutUntilTheFirstIsDead(t *testing.T) {
	lab := newAPILab(t, 1)
	one, two := lab.start("esx1"), lab.start("esx2")
	if err := powerOn(one.mustRegister("vm0")); err != nil {
		t.Fatal(err)
	}
	vm := two.mustRegister("vm0")
	for range 3 {
		if err := powerOn(vm); !isFault(err, &types.FileLocked{}) {
			t.Fatalf("expected FileLocked, got %v", err)
		}
		time.Sleep(700 * time.Millisecond) // more than a lease time in all
	}
	one.crash()
	wait(t, "the lock to age and the question", func() bool {
		task, err := vm.PowerOn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- task.Wait(context.Background()) }()
		for {
			select {
			case err := <-done:
				if !isFault(err, &types.FileLocked{}) {
					t.Fatalf("expected a question or FileLocked, got %v", err)
				}
				time.Sleep(100 * time.Millisecond)
				return false
			case <-time.After(20 * time.Millisecond):
			}
			if q := two.read(vm).Runtime.Question; q != nil {
				if q.Message[0].Id != "msg.uuid.altered" {
					t.Errorf("message id %s", q.Message[0].Id)
				}
				if err := vm.Answer(context.Background(), q.Id, answerMoved); err != nil {
					t.Fatal(err)
				}
				if err := <-done; err != nil {
					t.Fatal(err)
				}
				return true
			}
		}
	})
	seen := two.read(vm)
	if seen.Runtime.PowerState != poweredOn || seen.Runtime.Question != nil || seen.GuestHeartbeatStatus != types.ManagedEntityStatusGreen {
		t.Errorf("%s, question %v, heartbeat %s", seen.Runtime.PowerState, seen.Runtime.Question, seen.GuestHeartbeatStatus)
	}
	wait(t, "records of esx2", func() bool {
		records, _ := lab.target.records(0)
		return len(records) > 0 && records[len(records)-1].Host == "esx2"
	})
}

func TestRegistrationSurvivesACrashPowerDoesNot(t *testing.T) {
	lab := newAPILab(t, 1)
	config := lab.config("esx1")
	lab.target.admit("esx1")
	a := lab.boot(config)
	vm := a.mustRegister("vm0")
	if err := powerOn(vm); err != nil {
		t.Fatal(err)
	}
	if _, err := a.register("vm0"); !isFault(err, &types.AlreadyExists{}) {
		t.Errorf("registered twice: %v", err)
	}
	a.crash()
	b := lab.boot(config)
	wait(t, "the VM's files to be read", func() bool { return b.read(vm).Config != nil })
	if seen := b.read(vm); seen.Runtime.PowerState != poweredOff || seen.Name != "vm0" {
		t.Errorf("%s is %s after a crash", seen.Name, seen.Runtime.PowerState)
	}
	vm = object.NewVirtualMachine(b.client, vm.Reference())
	if err := powerOn(vm); err != nil { // its own lock of its earlier life, its own place: no wait, no question
		t.Error(err)
	}
}

func TestWithoutStorageVMsAreInaccessibleAndCanStillBeStopped(t *testing.T) {
	lab := newAPILab(t, 2)
	a := lab.start("esx1")
	vm := a.mustRegister("vm0")
	if err := powerOn(vm); err != nil {
		t.Fatal(err)
	}
	lab.target.fence("esx1")
	wait(t, "the VM to be inaccessible", func() bool {
		return a.read(vm).Runtime.ConnectionState == types.VirtualMachineConnectionStateInaccessible
	})
	var ds mo.Datastore
	if err := property.DefaultCollector(a.client).RetrieveOne(context.Background(), a.volumes[0].object.Self, nil, &ds); err != nil || ds.Summary.Accessible {
		t.Errorf("datastore accessible: %v, %v", ds.Summary.Accessible, err)
	}
	if _, err := a.register("vm1"); !isFault(err, &types.InaccessibleDatastore{}) {
		t.Errorf("register: %v", err)
	}
	task, err := vm.PowerOff(context.Background())
	if err == nil {
		err = task.Wait(context.Background())
	}
	if err != nil {
		t.Errorf("power off: %v", err)
	}
	if err := powerOn(vm); !isFault(err, &types.InaccessibleDatastore{}) {
		t.Errorf("power on: %v", err)
	}
}

func TestHostWhoseLockWasTakenKillsItsVM(t *testing.T) {
	lab := newAPILab(t, 1)
	a := lab.start("esx1")
	vm := a.mustRegister("vm0")
	if err := powerOn(vm); err != nil {
		t.Fatal(err)
	}
	theft := Lease{Owner: [16]byte{2}, Host: "esx9", Execution: [16]byte{2}, Generation: 7, Counter: 1}
	if err := lab.target.connect("esx9").Write(context.Background(), extentStart(0), theft.encode()); err != nil {
		t.Fatal(err)
	}
	wait(t, "the VM to be off", func() bool { return a.read(vm).Runtime.PowerState == poweredOff })
	log, _ := os.ReadFile(a.config.ExecutionLog)
	if !strings.Contains(string(log), "lock_taken") {
		t.Error("the execution log does not say why it stopped")
	}
}

func TestLunIsFoundFromTheDatastore(t *testing.T) {
	lab := newAPILab(t, 1)
	a := lab.start("esx1")
	var h mo.HostSystem
	var ds mo.Datastore
	collector := property.DefaultCollector(a.client)
	if err := errors.Join(collector.RetrieveOne(context.Background(), a.system.Self, nil, &h),
		collector.RetrieveOne(context.Background(), a.volumes[0].object.Self, nil, &ds)); err != nil {
		t.Fatal(err)
	}
	disk := ds.Info.(*types.VmfsDatastoreInfo).Vmfs.Extent[0].DiskName
	key := ""
	for _, lun := range h.Config.StorageDevice.ScsiLun {
		if lun.GetScsiLun().CanonicalName == disk {
			key = lun.GetScsiLun().Key
		}
	}
	for _, adapter := range h.Config.StorageDevice.ScsiTopology.Adapter {
		for _, target := range adapter.Target {
			for _, lun := range target.Lun {
				if transport, ok := target.Transport.(*types.HostInternetScsiTargetTransport); ok && lun.ScsiLun == key {
					if transport.IScsiName != testTarget || lun.Lun != 1 {
						t.Errorf("%s LUN %d", transport.IScsiName, lun.Lun)
					}
					return
				}
			}
		}
	}
	t.Errorf("no way from disk %q to its target", disk)
}
