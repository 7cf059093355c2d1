package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// executionLog is what really happened, for the referee's eyes only: one line an event, each written by one write(2).
type executionLog struct{ file *os.File }

func openExecutionLog(path string) (*executionLog, error) {
	// not os.OpenFile: that makes devices non-blocking, and in a guest of QEMU this is a port to the machine (virtio-serial)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &executionLog{os.NewFile(uintptr(fd), path)}, nil
}

func (l *executionLog) event(kind, vm string, execution [16]byte, argument string) {
	line := fmt.Sprintf("%d %s %s %s", bootTime(), kind, oneWord(vm), hex.EncodeToString(execution[:]))
	if argument != "" {
		line += " " + argument
	}
	_, _ = l.file.WriteString(line + "\n")
}

func oneWord(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' {
			return '_'
		}
		return r
	}, text)
}
