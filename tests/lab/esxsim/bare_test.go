package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// bare boots a host as installed, that the target admits.
func (l *apiLab) bare(name string) *apiHost {
	l.t.Helper()
	config := l.config(name)
	config.Bare, config.VMkernelPorts = true, []string{"vmk0", "vmk1"}
	config.ISCSI.Portal, config.ISCSI.Target, config.Datastore = "", "", DatastoreConfig{}
	if err := config.check(); err != nil {
		l.t.Fatal(err)
	}
	l.target.admit(name)
	h, err := newHost(config)
	if err != nil {
		l.t.Fatal(err)
	}
	server, err := listen(h)
	if err != nil {
		l.t.Fatal(err)
	}
	halt := h.boot()
	l.t.Cleanup(func() { _ = server.Close(); halt() })
	a := &apiHost{host: h, lab: l}
	if a.client, err = a.login(config.Password); err != nil {
		l.t.Fatal(err)
	}
	return a
}

func (a *apiHost) storageRef() types.ManagedObjectReference {
	return *a.system.ConfigManager.StorageSystem
}

func (a *apiHost) must(err error) {
	a.lab.t.Helper()
	if err != nil {
		a.lab.t.Fatal(err)
	}
}

func (a *apiHost) hba() *types.HostInternetScsiHba {
	a.lab.t.Helper()
	var seen mo.HostStorageSystem
	a.must(property.DefaultCollector(a.client).RetrieveOne(context.Background(), a.storageRef(), []string{"storageDeviceInfo"}, &seen))
	for _, one := range seen.StorageDeviceInfo.HostBusAdapter {
		if hba, ok := one.(*types.HostInternetScsiHba); ok {
			return hba
		}
	}
	return nil
}

// enable does what an administrator does: the adapter, a portal for discovery, a rescan.
func (a *apiHost) enable() {
	a.lab.t.Helper()
	ctx := context.Background()
	_, err := methods.UpdateSoftwareInternetScsiEnabled(ctx, a.client, &types.UpdateSoftwareInternetScsiEnabled{This: a.storageRef(), Enabled: true})
	a.must(err)
	wait(a.lab.t, "the adapter", func() bool { return a.hba() != nil })
	address, port := splitPortal(a.lab.target.portal)
	_, err = methods.AddInternetScsiSendTargets(ctx, a.client, &types.AddInternetScsiSendTargets{
		This: a.storageRef(), IScsiHbaDevice: iscsiHBA, Targets: []types.HostInternetScsiHbaSendTarget{{Address: address, Port: port}},
	})
	a.must(err)
	a.rescan()
}

func (a *apiHost) rescan() {
	a.lab.t.Helper()
	_, err := methods.RescanAllHba(context.Background(), a.client, &types.RescanAllHba{This: a.storageRef()})
	a.must(err)
}

func (a *apiHost) datastores() (names []string) {
	a.lab.t.Helper()
	for _, v := range a.known() {
		if v.accessible() {
			names = append(names, v.Name)
		}
	}
	return names
}

func (a *apiHost) create(label string) error {
	ctx := context.Background()
	system := *a.system.ConfigManager.DatastoreSystem
	options, err := methods.QueryVmfsDatastoreCreateOptions(ctx, a.client, &types.QueryVmfsDatastoreCreateOptions{
		This: system, DevicePath: "/vmfs/devices/disks/" + a.luns()[0].CanonicalName,
	})
	if err != nil {
		return err
	}
	spec := *options.Returnval[0].Spec.(*types.VmfsDatastoreCreateSpec)
	spec.Vmfs.VolumeName = label
	_, err = methods.CreateVmfsDatastore(ctx, a.client, &types.CreateVmfsDatastore{This: system, Spec: spec})
	return err
}

func (a *apiHost) partitions() types.HostDiskPartitionSpec {
	a.lab.t.Helper()
	answer, err := methods.RetrieveDiskPartitionInfo(context.Background(), a.client, &types.RetrieveDiskPartitionInfo{
		This: a.storageRef(), DevicePath: []string{"/vmfs/devices/disks/" + a.luns()[0].CanonicalName},
	})
	a.must(err)
	return answer.Returnval[0].Spec
}

// overwrite changes the LUN below the hosts.
func (g *target) overwrite(at int64, data []byte) {
	g.t.Helper()
	file, err := os.OpenFile(g.image, os.O_WRONLY, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(data, at); err != nil {
		g.t.Fatal(err)
	}
}

func blankLab(t *testing.T) *apiLab {
	lab := newAPILab(t, 2)
	lab.target.overwrite(0, make([]byte, sectorBytes))
	return lab
}

func TestBareHostGetsItsDatastoreThroughTheAPI(t *testing.T) {
	lab := blankLab(t)
	one, two := lab.bare("esx1"), lab.bare("esx2")
	if one.hba() != nil || len(lab.target.sessions("esx1")) != 0 {
		t.Fatal("a host as installed has an iSCSI adapter")
	}
	one.enable()
	two.enable()
	wait(t, "sessions although nothing is formatted", func() bool {
		return one.loggedIn() && two.loggedIn() && len(lab.target.sessions("esx1")) == 1 && len(lab.target.sessions("esx2")) == 1
	})
	if spec := one.partitions(); spec.PartitionFormat != "unknown" || len(spec.Partition) != 0 {
		t.Errorf("a blank disk has %+v", spec)
	}
	if !allZero(lab.target.sector(heartbeatSector)) || len(one.datastores()) != 0 {
		t.Error("a LUN without VMFS was written to, or mounted")
	}
	one.must(one.create("ds1"))
	if names := one.datastores(); len(names) != 1 || names[0] != "ds1" {
		t.Errorf("datastores %v", names)
	}
	if len(two.datastores()) != 0 {
		t.Error("mounted without a rescan")
	}
	two.rescan()
	wait(t, "the other host to mount it", func() bool { return len(two.datastores()) == 1 })
	if one.known()[0].UUID != two.known()[0].UUID {
		t.Error("two UUIDs for one volume")
	}
	if err := one.create("ds1"); !isFault(err, &types.DuplicateName{}) {
		t.Errorf("a second ds1: %v", err)
	}
	wait(t, "heartbeats", func() bool {
		return !allZero(lab.target.sector(heartbeatSector)) && !allZero(lab.target.sector(heartbeatSector+1))
	})
}

func TestAdapterSettingsSurviveARestart(t *testing.T) {
	lab := blankLab(t)
	a := lab.bare("esx1")
	a.enable()
	a.must(a.create("ds1"))
	again, err := newHost(a.config)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.adapter.get(); !got.Enabled || len(got.SendTargets) != 1 || len(again.known()) != 1 || again.known()[0].Name != "ds1" {
		t.Errorf("%+v, volumes %v", got, again.known())
	}
}

func TestFormattingAsksNobody(t *testing.T) { // as ESXi; that is why the module asks
	lab := blankLab(t)
	mbr := make([]byte, sectorBytes)
	copy(mbr[446:], []byte{0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 16, 0, 0})
	mbr[510], mbr[511] = 0x55, 0xaa
	lab.target.overwrite(0, mbr)
	a := lab.bare("esx1")
	a.enable()
	if spec := a.partitions(); spec.PartitionFormat != "mbr" || len(spec.Partition) != 1 || spec.Partition[0].Type != "linuxNative" {
		t.Errorf("%+v", spec)
	}
	a.must(a.create("ds1"))
	if !bytes.HasPrefix(lab.target.sector(0), lunMagic) {
		t.Error("not formatted")
	}
}

func TestGPTIsListed(t *testing.T) {
	lab := blankLab(t)
	lab.target.overwrite(sectorBytes, []byte("EFI PART"))
	entry := make([]byte, 128)
	copy(entry, []byte{0x2a, 0xe0, 0x31, 0xaa, 0x0f, 0x40, 0xdb, 0x11, 0x95, 0x90, 0x00, 0x0c, 0x29, 0x11, 0xd1, 0xb8}) // VMFS
	entry[33], entry[41] = 8, 16
	lab.target.overwrite(2*sectorBytes, entry)
	a := lab.bare("esx1")
	a.enable()
	if spec := a.partitions(); spec.PartitionFormat != "gpt" || len(spec.Partition) != 1 || spec.Partition[0].Guid != vmfsGUID {
		t.Errorf("%+v", spec)
	}
}

func TestCopyIsUnresolvedUntilResignatured(t *testing.T) {
	lab := blankLab(t)
	lab.target.overwrite(0, volumeHead{UUID: "65a1b2c3-d4e5f607-1829-3a4b5c6d7e8f", Label: "ds1", Disk: "naa.another", Extents: 2}.encode())
	a := lab.bare("esx1")
	a.enable()
	ctx := context.Background()
	answer, err := methods.QueryUnresolvedVmfsVolume(ctx, a.client, &types.QueryUnresolvedVmfsVolume{This: a.storageRef()})
	a.must(err)
	if len(answer.Returnval) != 1 || answer.Returnval[0].VmfsLabel != "ds1" || len(a.datastores()) != 0 {
		t.Fatalf("%+v, datastores %v", answer.Returnval, a.datastores())
	}
	_, err = methods.ResignatureUnresolvedVmfsVolume_Task(ctx, a.client, &types.ResignatureUnresolvedVmfsVolume_Task{
		This:           *a.system.ConfigManager.DatastoreSystem,
		ResolutionSpec: types.HostUnresolvedVmfsResignatureSpec{ExtentDevicePath: []string{answer.Returnval[0].Extent[0].DevicePath}},
	})
	a.must(err)
	wait(t, "the copy under a name of its own", func() bool { return len(a.datastores()) == 1 })
	if v := a.known()[0]; v.Name[:5] != "snap-" || v.UUID == "65a1b2c3-d4e5f607-1829-3a4b5c6d7e8f" {
		t.Errorf("%s %s", v.Name, v.UUID)
	}
	_, err = methods.RenameDatastore(ctx, a.client, &types.RenameDatastore{This: a.known()[0].object.Self, NewName: "ds9"})
	a.must(err)
	if head := decodeVolume(lab.target.sector(0)); head.Label != "ds9" || a.datastores()[0] != "ds9" {
		t.Errorf("%+v, datastores %v", head, a.datastores())
	}
}

func TestCHAPIsSpokenBothWays(t *testing.T) {
	lab := blankLab(t)
	lab.target.admin("--op", "new", "--mode", "account", "--user", "esx1", "--password", "secret-of-esx1")
	lab.target.admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", "esx1")
	lab.target.admin("--op", "new", "--mode", "account", "--user", "san", "--password", "secret-of-san")
	lab.target.admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", "san", "--outgoing")
	a := lab.bare("esx1")
	a.enable()
	if len(a.luns()) != 0 {
		t.Fatal("admitted without CHAP")
	}
	set := func(secret, mutual string) {
		_, err := methods.UpdateInternetScsiAuthenticationProperties(context.Background(), a.client, &types.UpdateInternetScsiAuthenticationProperties{
			This: a.storageRef(), IScsiHbaDevice: iscsiHBA, AuthenticationProperties: types.HostInternetScsiHbaAuthenticationProperties{
				ChapAuthEnabled: true, ChapName: "esx1", ChapSecret: secret, ChapAuthenticationType: "chapRequired",
				MutualChapName: "san", MutualChapSecret: mutual, MutualChapAuthenticationType: "chapRequired",
			},
		})
		a.must(err)
		a.rescan()
	}
	set("secret-of-esx1", "wrong-of-the-san")
	if len(a.luns()) != 0 {
		t.Error("a target with another secret than the host knows was used")
	}
	set("secret-of-esx1", "secret-of-san")
	if len(a.luns()) != 1 {
		t.Error("not admitted with CHAP")
	}
	wait(t, "the session", func() bool { return len(lab.target.sessions("esx1")) == 1 })
	shown := a.hba().AuthenticationProperties
	if shown.ChapName != "esx1" || shown.ChapSecret != "" || shown.MutualChapSecret != "" {
		t.Errorf("%+v", shown)
	}
	if info, err := os.Stat(filepath.Join(a.config.StateDir, "iscsi.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("iscsi.json: %v, %v", info, err)
	}
}

func TestPortBinding(t *testing.T) {
	lab := blankLab(t)
	a := lab.bare("esx1")
	a.enable()
	manager, ctx := *a.system.ConfigManager.IscsiManager, context.Background()
	bind := func(port string) error {
		_, err := methods.BindVnic(ctx, a.client, &types.BindVnic{This: manager, IScsiHbaName: iscsiHBA, VnicDevice: port})
		return err
	}
	a.must(bind("vmk1"))
	if err := bind("vmk1"); !isFault(err, &types.IscsiFaultVnicAlreadyBound{}) {
		t.Errorf("bound twice: %v", err)
	}
	if err := bind("vmk7"); !isFault(err, &types.IscsiFaultVnicNotFound{}) {
		t.Errorf("a port that is not there: %v", err)
	}
	answer, err := methods.QueryBoundVnics(ctx, a.client, &types.QueryBoundVnics{This: manager, IScsiHbaName: iscsiHBA})
	if err != nil || len(answer.Returnval) != 1 || answer.Returnval[0].VnicDevice != "vmk1" {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestSettingsAreShownAsTheyWereSet(t *testing.T) {
	lab := blankLab(t)
	a := lab.bare("esx1")
	a.enable()
	ctx, managers := context.Background(), a.system.ConfigManager
	_, err := methods.ReconfigureAutostart(ctx, a.client, &types.ReconfigureAutostart{
		This: *managers.AutoStartManager, Spec: types.HostAutoStartManagerConfig{Defaults: &types.AutoStartDefaults{Enabled: types.NewBool(true)}},
	})
	a.must(err)
	_, err = methods.UpdateDateTimeConfig(ctx, a.client, &types.UpdateDateTimeConfig{
		This: *managers.DateTimeSystem, Config: types.HostDateTimeConfig{NtpConfig: &types.HostNtpConfig{Server: []string{"192.0.2.1"}}},
	})
	a.must(err)
	_, err = methods.UpdateServicePolicy(ctx, a.client, &types.UpdateServicePolicy{This: *managers.ServiceSystem, Id: "ntpd", Policy: "on"})
	a.must(err)
	_, err = methods.StartService(ctx, a.client, &types.StartService{This: *managers.ServiceSystem, Id: "ntpd"})
	a.must(err)
	var autostart mo.HostAutoStartManager
	var clock mo.HostDateTimeSystem
	var services mo.HostServiceSystem
	collector := property.DefaultCollector(a.client)
	a.must(collector.RetrieveOne(ctx, *managers.AutoStartManager, nil, &autostart))
	a.must(collector.RetrieveOne(ctx, *managers.DateTimeSystem, nil, &clock))
	a.must(collector.RetrieveOne(ctx, *managers.ServiceSystem, nil, &services))
	if !*autostart.Config.Defaults.Enabled || autostart.Config.Defaults.StartDelay != 120 || clock.DateTimeInfo.NtpConfig.Server[0] != "192.0.2.1" {
		t.Errorf("%+v, %+v", autostart.Config.Defaults, clock.DateTimeInfo.NtpConfig)
	}
	if ntpd := services.ServiceInfo.Service[0]; ntpd.Policy != "on" || !ntpd.Running {
		t.Errorf("%+v", ntpd)
	}
	set := func(key string, value types.AnyType) error {
		_, err := methods.UpdateOptions(ctx, a.client, &types.UpdateOptions{
			This: *managers.AdvancedOption, ChangedValue: []types.BaseOptionValue{&types.OptionValue{Key: key, Value: value}},
		})
		return err
	}
	a.must(set("Misc.APDTimeout", int64(60)))
	if err := set("Misc.APDTimeout", "60"); !isFault(err, &types.InvalidArgument{}) {
		t.Errorf("another type: %v", err)
	}
	if err := set("Misc.NoSuchThing", int64(1)); !isFault(err, &types.InvalidName{}) {
		t.Errorf("an option that is not there: %v", err)
	}
	policy := func() (string, string) {
		var seen mo.HostStorageSystem
		a.must(collector.RetrieveOne(ctx, a.storageRef(), []string{"storageDeviceInfo"}, &seen))
		unit := seen.StorageDeviceInfo.MultipathInfo.Lun[0]
		return unit.Id, unit.Policy.GetHostMultipathInfoLogicalUnitPolicy().Policy
	}
	wait(t, "the disk", func() bool { return len(a.luns()) == 1 })
	id, _ := policy()
	_, err = methods.SetMultipathLunPolicy(ctx, a.client, &types.SetMultipathLunPolicy{
		This: a.storageRef(), LunId: id, Policy: &types.HostMultipathInfoLogicalUnitPolicy{Policy: "VMW_PSP_RR"},
	})
	a.must(err)
	wait(t, "the policy", func() bool { _, now := policy(); return now == "VMW_PSP_RR" })
}
