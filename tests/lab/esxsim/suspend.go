package main

import (
	"encoding/json"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
)

// suspendedMemory is what a .vmss file holds here. The guest's own state, the end of its workload's records, lies on its disk.
type suspendedMemory struct {
	CPUFeatures []string `json:"cpu_features"` // that the guest has seen since it started
	Host        string   `json:"host"`
}

// memoryFile lies beside the .vmx, where checkpoint.vmState names it. It stays after the resume, and is listed no more.
func (m *machine) memoryFile() string { return strings.TrimSuffix(m.relative, ".vmx") + ".vmss" }

// writeMemory puts the VM's memory on its datastore, and notes it in the .vmx.
func (m *machine) writeMemory() error {
	content, err := json.Marshal(suspendedMemory{CPUFeatures: m.host.cpuFeatures(), Host: m.host.config.Name})
	if err != nil {
		return err
	}
	if err := m.volume.files.replace(m.memoryFile(), content); err != nil {
		return err
	}
	m.setCheckpoint(path.Base(m.memoryFile()))
	return nil
}

// readMemory refuses a suspended VM whose guest has seen a CPU that offers what this host's does not. A VM that is not suspended starts anew.
func (m *machine) readMemory(file *vmxFile) types.BaseMethodFault {
	name := file.get("checkpoint.vmState")
	if name == "" {
		return nil
	}
	name = path.Join(path.Dir(m.relative), name)
	files, err := m.volume.files.open()
	if err != nil {
		return m.volume.inaccessible()
	}
	content, err := fs.ReadFile(files, name)
	if err != nil {
		return fileFault(m.volume.dsPath(name), err)
	}
	var memory suspendedMemory
	if err := json.Unmarshal(content, &memory); err != nil {
		return &types.InvalidVmConfig{Property: err.Error()}
	}
	var missing []string
	for _, feature := range memory.CPUFeatures {
		if !slices.Contains(m.host.cpuFeatures(), feature) {
			missing = append(missing, feature)
		}
	}
	if len(missing) > 0 {
		return &types.GenericVmConfigFault{Reason: "The suspended VM needs CPU features that this host lacks: " + strings.Join(missing, ", ")}
	}
	return nil
}
