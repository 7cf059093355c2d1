package main

import "context"

// lunPath is the host's way to its LUN: its own session in this process (Session), or the kernel's initiator (KernelSession).
type lunPath interface {
	disk
	guestDisk
	Run(ctx context.Context)       // keeps it up until ctx ends
	Connected() bool               // whether the session lives
	Device() *Device               // the LUN as it described itself at the latest login; nil before the first
	Initiator() string             // the name under which the host logs in
	Rename(initiator string) error // logs in anew under another name
}

// newLunPath: which of the two the configuration asks for.
func newLunPath(config *Config, onChange func(connected bool)) (lunPath, error) {
	retry, timeout := milliseconds(config.LoginRetryMS), seconds(config.TimeoutS)
	if config.ISCSI.Device != "" {
		return NewKernelSession(config.ISCSI, retry, timeout, onChange), nil
	}
	return NewSession(config.ISCSI, retry, timeout, onChange)
}
