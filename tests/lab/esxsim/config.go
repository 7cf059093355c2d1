package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/uuid"
)

// Config is the contract of tests/lab/README.md; keys that are unknown are refused, so that a typing error is seen.
type Config struct {
	Name         string `json:"name"`
	UUID         string `json:"uuid"`
	Address      string `json:"address"`
	Port         int    `json:"port"`
	Listen       string `json:"listen"` // where the API listens when that is not address
	Username     string `json:"username"`
	Password     string `json:"password"`
	Certificate  string `json:"certificate"`
	Key          string `json:"key"`
	StateDir     string `json:"state_dir"`
	ExecutionLog string `json:"execution_log"`
	Product      struct {
		Version string `json:"version"`
		Build   string `json:"build"`
	} `json:"product"`
	MemoryMiB           int64            `json:"memory_mib"`
	CPUCores            int              `json:"cpu_cores"`
	CPUMHz              int              `json:"cpu_mhz"`
	Networks            []string         `json:"networks"` // port groups; "VM Network" when absent
	Bare                bool             `json:"bare"`     // as installed: the software iSCSI adapter is off; whatever it has is set through the API
	VMkernelPorts       []string         `json:"vmkernel_ports"`
	Offers              OffersConfig     `json:"offers"`
	ISCSI               ISCSIConfig      `json:"iscsi"`
	Datastore           DatastoreConfig  `json:"datastore"`
	LocalDatastore      *DatastoreConfig `json:"local_datastore"`
	LeaseSeconds        float64          `json:"lease_seconds"`
	RecordIntervalMS    int              `json:"record_interval_ms"`
	HeartbeatIntervalMS int              `json:"heartbeat_interval_ms"`
	LoginRetryMS        int              `json:"iscsi_login_retry_ms"`
	TimeoutS            float64          `json:"iscsi_timeout_s"`
	QuestionOnOtherHost bool             `json:"question_on_other_host"`
	QuestionOnLostLock  bool             `json:"question_on_lost_lock"`
	SessionIdleS        float64          `json:"session_idle_s"`
	BootTimeOffsetNS    int64            `json:"boottime_offset_ns"` // added to this machine's CLOCK_BOOTTIME: several machines, one clock

	id uuid.UUID
}

// OffersConfig is what the host has for VMs that do not run everywhere.
type OffersConfig struct {
	VGPUProfiles         []string `json:"vgpu_profiles"`
	EncryptionKeys       []string `json:"encryption_keys"` // ids; with one the host's encryption is enabled
	PCIDevices           []string `json:"pci_devices"`     // "0000:03:00.0", enabled for passthrough
	NestedVirtualization bool     `json:"nested_virtualization"`
	PerformanceCounters  bool     `json:"performance_counters"`
	CPUFeatures          []string `json:"cpu_features"` // beyond those that every host here has: "cpuid.AVX512F"
}

// ISCSIConfig names the host's initiator and the LUN that holds the shared datastore.
type ISCSIConfig struct {
	Initiator string `json:"initiator"`
	Portal    string `json:"portal"`
	Target    string `json:"target"`
	LUN       int    `json:"lun"`
	Device    string `json:"device"` // the LUN's block device, when the machine's kernel is the initiator; else this process logs in itself
	HostIndex int    `json:"host_index"`
}

// DatastoreConfig is a VMFS volume; its files are in Folder, or, when there is none, on the LUN in the VMs' extents.
type DatastoreConfig struct {
	Name   string `json:"name"`
	UUID   string `json:"uuid"`
	Folder string `json:"folder"`
}

func loadConfig(path string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	config := &Config{
		Port: 443, MemoryMiB: 65536, CPUCores: 16, CPUMHz: 2400, Networks: []string{"VM Network"}, VMkernelPorts: []string{"vmk0"},
		LeaseSeconds: 16, RecordIntervalMS: 100, HeartbeatIntervalMS: 1000, LoginRetryMS: 1000, TimeoutS: 5,
		QuestionOnOtherHost: true, SessionIdleS: 1800,
	}
	config.Product.Version, config.Product.Build = "8.0.3", "24022510"
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return config, nil
}

func (c *Config) check() error {
	required := map[string]string{
		"name": c.Name, "address": c.Address, "username": c.Username, "password": c.Password, "certificate": c.Certificate,
		"key": c.Key, "state_dir": c.StateDir, "execution_log": c.ExecutionLog, "iscsi.initiator": c.ISCSI.Initiator,
	}
	given := map[string]string{
		"iscsi.portal": c.ISCSI.Portal, "iscsi.target": c.ISCSI.Target, "datastore.name": c.Datastore.Name, "datastore.uuid": c.Datastore.UUID,
	}
	for key, value := range given {
		if !c.Bare {
			required[key] = value
		} else if value != "" || c.ISCSI.Device != "" {
			return fmt.Errorf("a bare host has no %s and no iscsi.device: both are set through its API", key)
		}
	}
	for key, value := range required {
		if value == "" {
			return fmt.Errorf("%s is missing", key)
		}
	}
	if c.LeaseSeconds <= 0 || c.RecordIntervalMS <= 0 || c.HeartbeatIntervalMS <= 0 || c.LoginRetryMS <= 0 || c.TimeoutS <= 0 || c.SessionIdleS <= 0 {
		return errors.New("intervals must be greater than zero")
	}
	if c.LocalDatastore != nil && c.LocalDatastore.Folder == "" {
		return errors.New("local_datastore.folder is missing")
	}
	if c.ISCSI.HostIndex < 0 || c.ISCSI.HostIndex >= claimSectors {
		return fmt.Errorf("iscsi.host_index: not from 0 to %d", claimSectors-1)
	}
	if len(c.Name) > nameBytes {
		return fmt.Errorf("name: longer than %d bytes", nameBytes)
	}
	var err error
	if c.id, err = uuid.Parse(c.UUID); err != nil {
		return fmt.Errorf("uuid: %w", err)
	}
	return nil
}

func seconds(value float64) time.Duration    { return time.Duration(value * float64(time.Second)) }
func milliseconds(value int) time.Duration   { return time.Duration(value) * time.Millisecond }
func (c *Config) lease() time.Duration       { return seconds(c.LeaseSeconds) }
func (c *Config) memoryBytes() int64         { return c.MemoryMiB << 20 }
func (c *Config) recordEvery() time.Duration { return milliseconds(c.RecordIntervalMS) }
