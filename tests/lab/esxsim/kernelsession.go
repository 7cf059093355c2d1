package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// KernelSession is the session of the machine's own kernel initiator (open-iscsi), used through its block device. Logging in again is
// the kernel's affair. Reads and writes go to the device itself (O_DIRECT, O_DSYNC): a write that is under way when the session is
// lost stays queued in the kernel and is sent after the next login. Nobody can take it back, which is what a fence has to withstand.
type KernelSession struct {
	config   ISCSIConfig
	poll     time.Duration
	timeout  time.Duration
	onChange func(connected bool) // called from Run's goroutine, in order

	mu        sync.Mutex
	file      *os.File
	device    *Device
	connected bool
	lost      chan struct{} // closed when the session that lives now is lost
}

// NewKernelSession makes a session that Run watches. poll: how often.
func NewKernelSession(config ISCSIConfig, poll, timeout time.Duration, onChange func(bool)) *KernelSession {
	return &KernelSession{config: config, poll: poll, timeout: timeout, onChange: onChange, lost: make(chan struct{})}
}

// Run opens the device when the kernel has logged in, and tells when its session comes and goes, until ctx ends.
func (k *KernelSession) Run(ctx context.Context) {
	ticker := time.NewTicker(k.poll)
	defer ticker.Stop()
	last := ""
	for {
		state, err := kernelState(k.config.Device)
		switch up := err == nil && state == "LOGGED_IN"; {
		case up && !k.Connected():
			if err = k.connect(); err == nil {
				log.Printf("iscsi: the kernel is logged in, %s is %s", k.config.Device, k.Device().CanonicalName)
			}
		case !up && k.Connected():
			log.Printf("iscsi: the kernel's session is %s (%v)", state, err)
			k.disconnect()
		}
		if err != nil && err.Error() != last { // one line for each new reason
			last = err.Error()
			log.Printf("iscsi: %s; trying again every %s", last, k.poll)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// kernelState is the state of the session that a block device belongs to: LOGGED_IN, FAILED or FREE.
func kernelState(device string) (string, error) {
	node, err := filepath.EvalSymlinks(device)
	if err != nil {
		return "", err
	}
	place, err := filepath.EvalSymlinks(filepath.Join("/sys/class/block", filepath.Base(node), "device"))
	if err != nil {
		return "", err
	}
	for _, part := range strings.Split(place, "/") {
		if strings.HasPrefix(part, "session") {
			state, err := os.ReadFile(filepath.Join("/sys/class/iscsi_session", part, "state"))
			return strings.TrimSpace(string(state)), err
		}
	}
	return "", fmt.Errorf("%s is no disk of an iSCSI session (%s)", device, place)
}

func (k *KernelSession) connect() error {
	file, err := os.OpenFile(k.config.Device, unix.O_RDWR|unix.O_DIRECT|unix.O_DSYNC|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	device, err := describe(k.config.LUN, func(what lunQuestion, evpd, page, length int) ([]byte, error) {
		return k.ask(file, what, evpd, page, length)
	})
	if err == nil {
		err = device.refusal(k.config.LUN)
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	k.mu.Lock()
	old := k.file
	k.file, k.device, k.connected, k.lost = file, device, true, make(chan struct{})
	k.mu.Unlock()
	if old != nil {
		_ = old.Close() // what is still queued through it goes on
	}
	if k.onChange != nil {
		k.onChange(true)
	}
	return nil
}

func (k *KernelSession) disconnect() {
	k.mu.Lock()
	k.connected = false
	close(k.lost)
	k.mu.Unlock()
	if k.onChange != nil {
		k.onChange(false)
	}
}

// Connected says whether the kernel is logged in and the LUN is the lab's.
func (k *KernelSession) Connected() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.connected
}

// Device is the LUN as it described itself at the latest login; nil before the first.
func (k *KernelSession) Device() *Device {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.device
}

// Initiator is the name that the kernel's initiator has, as the configuration says.
func (k *KernelSession) Initiator() string { return k.config.Initiator }

// Rename is not for this process to do.
func (k *KernelSession) Rename(string) error {
	return errors.New("the initiator is the kernel's: its name is in /etc/iscsi/initiatorname.iscsi")
}

// Read reads whole sectors.
func (k *KernelSession) Read(ctx context.Context, lba uint64, sectors int) ([]byte, error) {
	return k.do(ctx, false, func(file *os.File) ([]byte, error) { return readSectors(file, lba, sectors) })
}

// Write writes whole sectors to stable storage. It fails at once when there is no session. When the session is lost on the way it
// fails too, and may land later all the same: who needs to know reads what is there.
func (k *KernelSession) Write(ctx context.Context, lba uint64, data []byte) error {
	_, err := k.do(ctx, false, func(file *os.File) ([]byte, error) { return nil, writeSectors(file, lba, data) })
	return err
}

// WriteRetained is Write for a guest's I/O: it waits for the kernel's answer over lost sessions. When ctx ends before, the write
// stays queued in the kernel.
func (k *KernelSession) WriteRetained(ctx context.Context, lba uint64, data []byte) error {
	_, err := k.do(ctx, true, func(file *os.File) ([]byte, error) { return nil, writeSectors(file, lba, data) })
	return err
}

// CompareAndWrite replaces one sector if it holds old, else errMiscompare.
func (k *KernelSession) CompareAndWrite(ctx context.Context, lba uint64, old, new []byte) error {
	cdb := make([]byte, 16)
	cdb[0], cdb[1], cdb[13] = 0x89, 1<<3, 1 // COMPARE AND WRITE (SBC-3), FUA, one block
	binary.BigEndian.PutUint64(cdb[2:], lba)
	_, err := k.do(ctx, false, func(file *os.File) ([]byte, error) {
		both := append(append(make([]byte, 0, 2*sectorBytes), old...), new...)
		_, err := k.command(file, cdb, sgToDevice, both)
		return nil, err
	})
	return err
}

// do runs one blocking operation in a goroutine of its own, so that nobody hangs with the kernel.
func (k *KernelSession) do(ctx context.Context, retained bool, operation func(*os.File) ([]byte, error)) ([]byte, error) {
	k.mu.Lock()
	file, connected, lost := k.file, k.connected, k.lost
	k.mu.Unlock()
	if file == nil || !connected && !retained {
		return nil, errDisconnected
	}
	if retained {
		lost = nil
	}
	answer := make(chan response, 1)
	go func() {
		data, err := operation(file)
		answer <- response{data, err}
	}()
	select {
	case got := <-answer:
		return got.data, got.err
	case <-lost:
		return nil, errLost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// aligned is memory that O_DIRECT takes.
func aligned(size int) []byte {
	const page = 4096
	whole := make([]byte, size+page)
	skip := int(-uintptr(unsafe.Pointer(&whole[0])) & (page - 1))
	return whole[skip : skip+size : skip+size]
}

func readSectors(file *os.File, lba uint64, sectors int) ([]byte, error) {
	data := aligned(sectors * sectorBytes)
	_, err := file.ReadAt(data, int64(lba)*sectorBytes)
	return data, kernelError(err)
}

func writeSectors(file *os.File, lba uint64, data []byte) error {
	copied := aligned(len(data))
	copy(copied, data)
	_, err := file.WriteAt(copied, int64(lba)*sectorBytes)
	return kernelError(err)
}

// kernelError: the block layer has one word for a lost session, for a fenced one and for a LUN that is gone.
func kernelError(err error) error {
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ETIMEDOUT) || errors.Is(err, unix.ENOLINK) {
		return errLost
	}
	return err
}

func (k *KernelSession) ask(file *os.File, what lunQuestion, evpd, page, length int) ([]byte, error) {
	switch what {
	case askSector0:
		return readSectors(file, 0, 1)
	case askCapacity:
		cdb := make([]byte, 16)
		cdb[0], cdb[1] = 0x9e, 0x10 // SERVICE ACTION IN(16), READ CAPACITY(16)
		binary.BigEndian.PutUint32(cdb[10:], uint32(length))
		return k.command(file, cdb, sgFromDevice, make([]byte, length))
	default:
		cdb := []byte{0x12, byte(evpd), byte(page), byte(length >> 8), byte(length), 0} // INQUIRY
		return k.command(file, cdb, sgFromDevice, make([]byte, length))
	}
}
