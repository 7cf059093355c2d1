package main

import (
	"encoding/json"
	"log"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// chapSettings are the adapter's; an empty user means none.
type chapSettings struct {
	User, Secret, MutualUser, MutualSecret string
}

type staticTarget struct {
	Portal, Target string // "address:port", IQN
}

// adapterSettings are what an administrator sets of the software iSCSI adapter.
type adapterSettings struct {
	Enabled       bool
	Initiator     string
	Bound         []string
	SendTargets   []string // "address:port"
	StaticTargets []staticTarget
	Chap          chapSettings
	Volumes       []DatastoreConfig // mounted at some time; a volume that is away stays listed, as inaccessible
}

// softwareISCSI is the adapter of a bare host: off as installed, set up through the API, and kept in iscsi.json over a restart.
type softwareISCSI struct {
	host *host
	path string
	scan sync.Mutex // one rescan at a time

	mu         sync.Mutex
	settings   adapterSettings
	discovered []staticTarget
	luns       []foundLUN
}

// newSoftwareISCSI reads what was set before.
func newSoftwareISCSI(h *host) (*softwareISCSI, error) {
	a := &softwareISCSI{host: h, path: filepath.Join(h.config.StateDir, "iscsi.json"), settings: adapterSettings{Initiator: h.config.ISCSI.Initiator}}
	if err := readState(a.path, &a.settings); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *softwareISCSI) get() adapterSettings {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.settings
}

// set changes the settings and saves them.
func (a *softwareISCSI) set(change func(*adapterSettings)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.settings)
	raw, err := json.Marshal(a.settings)
	if err == nil {
		err = replaceFile(a.path, raw, 0o600)
	}
	if err != nil {
		log.Printf("iscsi.json: %s", err)
	}
}

func (a *softwareISCSI) seen() ([]staticTarget, []foundLUN) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.discovered), slices.Clone(a.luns)
}

// way is how to get to a target, with what is set now.
func (s adapterSettings) way(target staticTarget, lun int) sessionWay {
	return sessionWay{s.Initiator, target.Portal, target.Target, lun, s.Chap}
}

// timeout of one step of a scan, in seconds.
func (a *softwareISCSI) timeout() int { return max(1, int(a.host.config.TimeoutS)) }

// rescan asks the portals for their targets and the targets for their LUNs, and takes the first LUN with a VMFS, otherwise the first.
func (a *softwareISCSI) rescan() {
	a.scan.Lock()
	defer a.scan.Unlock()
	settings := a.get()
	if !settings.Enabled {
		return
	}
	var discovered []staticTarget
	for _, portal := range settings.SendTargets {
		found, err := discover(settings.way(staticTarget{Portal: portal}, 0), a.timeout())
		if err != nil {
			log.Printf("iscsi: discovery at %s: %s", portal, err)
		}
		for _, target := range found {
			if !slices.Contains(discovered, target) {
				discovered = append(discovered, target)
			}
		}
	}
	var luns []foundLUN
	for _, target := range append(slices.Clone(settings.StaticTargets), discovered...) {
		if slices.ContainsFunc(luns, func(l foundLUN) bool { return l.target == target.Target }) {
			continue // another path to it
		}
		session, err := openScan(settings.way(target, 0), a.timeout())
		if err != nil {
			log.Printf("iscsi: %s: %s", target.Target, err)
			continue
		}
		found, err := session.disks()
		session.close()
		if err != nil {
			log.Printf("iscsi: LUNs of %s: %s", target.Target, err)
		}
		luns = append(luns, found...)
	}
	a.mu.Lock()
	a.discovered, a.luns = discovered, luns
	a.mu.Unlock()
	a.use(settings, luns)
}

// use has the session go where the datastore is, and leaves one that is right alone.
func (a *softwareISCSI) use(settings adapterSettings, luns []foundLUN) {
	session := a.host.session.(*Session)
	if len(luns) == 0 {
		return // the session there is goes on, or tries to
	}
	chosen := luns[0]
	for _, lun := range luns {
		if lun.mountable() {
			chosen = lun
			break
		}
	}
	want := settings.way(staticTarget{chosen.portal, chosen.target}, chosen.number)
	if session.current() == want && (session.Connected() == chosen.mountable()) {
		return
	}
	session.Use(want)
}

// off ends the session.
func (a *softwareISCSI) off() {
	a.mu.Lock()
	a.discovered, a.luns = nil, nil
	a.mu.Unlock()
	a.host.session.(*Session).Use(sessionWay{Initiator: a.get().Initiator})
}

func joinPortal(address string, port int32) string {
	if port == 0 {
		port = 3260
	}
	return net.JoinHostPort(address, strconv.Itoa(int(port)))
}

func splitPortal(portal string) (string, int32) {
	address, port, err := net.SplitHostPort(portal)
	if err != nil {
		return portal, 3260
	}
	number, _ := strconv.Atoi(port)
	return address, int32(number)
}
