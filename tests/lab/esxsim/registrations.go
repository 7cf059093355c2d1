package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"sync"
)

// registrations is the host's inventory on disk (ESXi: vmInventory.xml): it survives a crash, power states do not.
type registrations struct {
	path string

	writing sync.Mutex // held while the file is written
	saved   int        // the change that the file contains

	mu     sync.Mutex
	change int
	Next   int            `json:"next"` // the next VM's number
	VMs    []registration `json:"vms"`
}

type registration struct {
	ID   int    `json:"id"`
	Path string `json:"path"` // "[datastore] folder/file.vmx"
}

func loadRegistrations(folder string) (*registrations, error) {
	r := &registrations{path: filepath.Join(folder, "registrations.json"), Next: 1}
	if err := readState(r.path, r); err != nil {
		return nil, err
	}
	for _, vm := range r.VMs {
		r.Next = max(r.Next, vm.ID+1)
	}
	return r, nil
}

// add registers a path and returns when that is on disk; known is the number of the VM that has it already, or 0.
func (r *registrations) add(path string) (entry registration, known int, err error) {
	r.mu.Lock()
	for _, vm := range r.VMs {
		if vm.Path == path {
			r.mu.Unlock()
			return registration{}, vm.ID, nil
		}
	}
	entry = registration{r.Next, path}
	r.Next++
	r.VMs = append(r.VMs, entry)
	r.change++
	wanted := r.change
	r.mu.Unlock()
	return entry, 0, r.save(wanted)
}

func (r *registrations) remove(id int) error {
	r.mu.Lock()
	r.VMs = slices.DeleteFunc(r.VMs, func(vm registration) bool { return vm.ID == id })
	r.change++
	wanted := r.change
	r.mu.Unlock()
	return r.save(wanted)
}

// save returns when the file contains a change. Changes that wait for one another are one write.
func (r *registrations) save(wanted int) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.saved >= wanted {
		return nil
	}
	r.mu.Lock()
	current := r.change
	content, err := json.MarshalIndent(r, "", " ")
	r.mu.Unlock()
	if err == nil {
		err = replaceFile(r.path, append(content, '\n'), 0o600)
	}
	if err == nil {
		r.saved = current
	}
	return err
}
