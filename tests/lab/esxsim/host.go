package main

import (
	"context"
	"log"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// host is one standalone ESXi host: its API's objects, its iSCSI session, its locks and its VMs.
type host struct {
	config   *Config
	registry *simulator.Registry
	root     *simulator.Context
	service  *simulator.Service
	started  time.Time
	log      *executionLog
	session  lunPath
	locks    *lockTable
	shutdown chan bool // true: reboot

	lostBefore atomic.Bool // the session was there before

	system     *simulator.HostSystem
	compute    *mo.ComputeResource
	datacenter *simulator.Datacenter
	vmFolder   *simulator.Folder
	pool       *simulator.ResourcePool
	storage    *simulator.HostStorageSystem
	networks   map[string]types.ManagedObjectReference
	volumes    []*volume
	wrappers   []mo.Reference // what answers in place of the simulator's own objects
	sessions   sessionTable
	tasks      taskTable
	sendTarget []types.HostInternetScsiHbaSendTarget
	adapter    *softwareISCSI // of a bare host, else nil
	settings   hostSettings
	accounts   *accounts

	mu         sync.Mutex
	registered *registrations
	vms        map[int]*machine
	reload     chan struct{} // the shared datastore came back: VMs' files can be read again
}

func newHost(config *Config) (*host, error) {
	h := &host{
		config: config, started: time.Now(), shutdown: make(chan bool, 1), vms: map[int]*machine{},
		networks: map[string]types.ManagedObjectReference{}, reload: make(chan struct{}, 1),
	}
	h.sessions.idle = seconds(config.SessionIdleS)
	var err error
	if h.log, err = openExecutionLog(config.ExecutionLog); err != nil {
		return nil, err
	}
	if h.registered, err = loadRegistrations(config.StateDir); err != nil {
		return nil, err
	}
	if h.accounts, err = loadAccounts(config.StateDir); err != nil {
		return nil, err
	}
	h.session, err = newLunPath(config, h.storageChanged)
	if err != nil {
		return nil, err
	}
	h.locks = newLockTable(h.session, config.id, config.Name, config.ISCSI.HostIndex, config.lease(), hostClock)

	if config.Bare {
		if h.adapter, err = newSoftwareISCSI(h); err != nil {
			return nil, err
		}
	}
	content := esx.ServiceContent
	h.product(&content.About)
	content.CryptoManager = &cryptoManagerReference
	esx.HostSystem.Summary.Config.Product = &content.About // config.product later: the simulator knows no release after 8.0.2
	esx.HostSystem.Summary.Config.Name = config.Name
	model := simulator.NewContext()
	model, instance := simulator.NewServiceInstance(model, content, esx.RootFolder)
	h.root, h.registry, h.service = model, model.Map, simulator.New(model, instance)
	h.registry.Handler = h.handle
	h.inventory()
	if err = h.loadMaintenance(); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *host) product(about *types.AboutInfo) {
	version, build := h.config.Product.Version, h.config.Product.Build
	about.Name, about.Version, about.Build = "VMware ESXi", version, build
	about.FullName = "VMware ESXi " + version + " build-" + build
	about.ApiVersion = version + ".0"
	about.ApiType, about.ProductLineId, about.OsType = "HostAgent", "embeddedEsx", "vmnix-x86"
	about.LicenseProductName, about.LicenseProductVersion = "VMware ESX Server", majorVersion(version)
}

func majorVersion(version string) string {
	major, _, _ := strings.Cut(version, ".")
	return major + ".0"
}

// inventory turns the simulator's one ESX host into this one.
func (h *host) inventory() {
	h.system = h.registry.Any("HostSystem").(*simulator.HostSystem)
	h.compute = h.registry.Any("ComputeResource").(*mo.ComputeResource)
	h.datacenter = h.registry.Any("Datacenter").(*simulator.Datacenter)
	h.pool = h.registry.Any("ResourcePool").(*simulator.ResourcePool)
	h.vmFolder = h.registry.Get(h.datacenter.VmFolder).(*simulator.Folder)
	h.storage = h.registry.Get(*h.system.ConfigManager.StorageSystem).(*simulator.HostStorageSystem)
	h.compute.Name = h.config.Name
	h.describe()
	h.makeNetworks()
	shared := []DatastoreConfig{h.config.Datastore}
	if h.adapter != nil {
		shared = h.adapter.get().Volumes
	}
	for _, config := range shared {
		h.volumes = append(h.volumes, h.makeVolume(config, false))
	}
	if h.config.LocalDatastore != nil {
		h.volumes = append(h.volumes, h.makeVolume(*h.config.LocalDatastore, true))
	}
	h.refreshStorage(false)
	h.wrappers = []mo.Reference{
		&hostSystem{HostSystem: h.system, host: h},
		&storageSystem{HostStorageSystem: h.storage, host: h},
		&vmFolder{Folder: h.vmFolder, host: h},
		h.datastoreSystem(),
		h.iscsiManager(),
		&searchIndex{SearchIndex: h.registry.SearchIndex(), host: h},
		&diskManager{VirtualDiskManager: h.registry.Get(*esx.ServiceContent.VirtualDiskManager).(*simulator.VirtualDiskManager), host: h},
		&eventManager{EventManager: h.registry.EventManager()},
		h.cryptoManager(),
		&performanceManager{PerformanceManager: h.registry.Get(*esx.ServiceContent.PerfManager).(*simulator.PerformanceManager), host: h},
	}
	h.wrappers = append(h.wrappers, h.makeSettings()...)
	h.wrappers = append(h.wrappers, h.makeAccounts()...)
	for _, entry := range h.registered.VMs {
		h.addMachine(entry)
	}
}

// boot starts what a host does by itself; the function it returns ends that: VMs that still run are lost, as when the machine dies.
func (h *host) boot() (halt func()) {
	log.Printf("%s boots as %s, %d VMs registered", h.config.Name, h.config.ISCSI.Initiator, len(h.vms))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if h.adapter != nil {
		go h.adapter.rescan()
	}
	for _, task := range []func(context.Context){
		h.session.Run,
		func(ctx context.Context) { heartbeat(ctx, h.session, h.config) },
		h.keepStatistics,
		h.keepInventory,
		h.sweepSessions,
		h.keepSamples,
		h.obeyGuestOrders,
	} {
		running.Add(1)
		go func() { defer running.Done(); task(ctx) }()
	}
	return func() {
		var lost sync.WaitGroup
		for _, m := range h.machines() {
			lost.Add(1)
			go func() { defer lost.Done(); m.lose("host_ended") }()
		}
		lost.Wait()
		cancel()
		running.Wait()
	}
}

// storageChanged is told by the session when it comes and goes.
func (h *host) storageChanged(connected bool) {
	if connected {
		h.mountFound()
	}
	h.refreshStorage(connected)
	if connected {
		h.locksPoke()
		select {
		case h.reload <- struct{}{}:
		default:
		}
	}
	go h.storageEvent(connected)
	for _, m := range h.machines() {
		m.storageChanged(connected)
	}
}

func (h *host) machines() []*machine {
	h.mu.Lock()
	defer h.mu.Unlock()
	machines := make([]*machine, 0, len(h.vms))
	for _, m := range h.vms {
		machines = append(machines, m)
	}
	return machines
}

func (h *host) locksPoke() {
	for _, m := range h.machines() {
		m.pokeLock()
	}
}

// as is a context for changes on behalf of a user; "" is the host itself.
func (h *host) as(user string) *simulator.Context {
	ctx := *h.root
	ctx.Session = &simulator.Session{
		UserSession: types.UserSession{Key: "host", UserName: user}, Registry: simulator.NewRegistry(), Map: h.registry,
	}
	return &ctx
}

// with runs a change while nobody reads the object.
func (h *host) with(object mo.Reference, change func()) {
	ctx := h.as("")
	h.registry.WithLock(ctx, object, change)
}
