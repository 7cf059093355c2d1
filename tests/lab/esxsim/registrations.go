package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// registrations is the host's inventory on disk (ESXi: vmInventory.xml): it survives a crash, power states do not.
type registrations struct {
	path string
	Next int            `json:"next"` // the next VM's number
	VMs  []registration `json:"vms"`
}

type registration struct {
	ID   int    `json:"id"`
	Path string `json:"path"` // "[datastore] folder/file.vmx"
}

func loadRegistrations(folder string) (*registrations, error) {
	r := &registrations{path: filepath.Join(folder, "registrations.json"), Next: 1}
	content, err := os.ReadFile(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(content, r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.path, err)
	}
	for _, vm := range r.VMs {
		r.Next = max(r.Next, vm.ID+1)
	}
	return r, nil
}

func (r *registrations) add(path string) (registration, error) {
	entry := registration{r.Next, path}
	r.Next++
	r.VMs = append(r.VMs, entry)
	return entry, r.save()
}

func (r *registrations) remove(id int) error {
	for i, vm := range r.VMs {
		if vm.ID == id {
			r.VMs = append(r.VMs[:i:i], r.VMs[i+1:]...)
			break
		}
	}
	return r.save()
}

func (r *registrations) save() error {
	content, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return replaceFile(r.path, append(content, '\n'), 0o600)
}
