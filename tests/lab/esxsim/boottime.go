package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTimeOffset brings the clocks of several machines together (boottime_offset_ns); set once, before anything runs.
var bootTimeOffset int64

// bootTime is CLOCK_BOOTTIME in nanoseconds: the lab's one clock for records, heartbeats and the execution log.
func bootTime() uint64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err) // cannot fail on Linux
	}
	return uint64(now.Nano() + bootTimeOffset)
}

// hostClock is the host's own monotonic clock, for the aging of locks. It goes on while the process is stopped.
func hostClock() time.Duration { return time.Duration(bootTime()) }
