package main

import (
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The Linux SG_IO interface (include/uapi scsi/sg.h, version 3): SCSI commands that the block layer has no word for.
const (
	sgIO         = 0x2285
	sgToDevice   = -2
	sgFromDevice = -3
)

type sgHeader struct {
	interfaceID    int32
	direction      int32
	commandLength  uint8
	senseLength    uint8
	vectors        uint16
	dataLength     uint32
	data           unsafe.Pointer
	command        unsafe.Pointer
	sense          unsafe.Pointer
	timeout        uint32 // ms
	flags          uint32
	packID         int32
	_              int32
	user           unsafe.Pointer
	status         uint8
	maskedStatus   uint8
	messageStatus  uint8
	senseWritten   uint8
	hostStatus     uint16
	driverStatus   uint16
	residual       int32
	duration, info uint32
}

// command sends one SCSI command and returns what it read. Passing conditions (unit attention, busy) are tried again.
func (k *KernelSession) command(file *os.File, cdb []byte, direction int32, data []byte) ([]byte, error) {
	for try := 0; ; try++ {
		read, err := sgCommand(file, cdb, direction, data, k.timeout)
		if try == 8 || !isTransient(err) {
			return read, err
		}
	}
}

func sgCommand(file *os.File, cdb []byte, direction int32, data []byte, timeout time.Duration) ([]byte, error) {
	sense := make([]byte, 64)
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(&data[0])
	pins.Pin(&cdb[0])
	pins.Pin(&sense[0])
	header := sgHeader{
		interfaceID: 'S', direction: direction, commandLength: uint8(len(cdb)), senseLength: uint8(len(sense)), dataLength: uint32(len(data)),
		data: unsafe.Pointer(&data[0]), command: unsafe.Pointer(&cdb[0]), sense: unsafe.Pointer(&sense[0]), timeout: uint32(timeout.Milliseconds()),
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), sgIO, uintptr(unsafe.Pointer(&header))); errno != 0 {
		if err := kernelError(errno); err == errLost {
			return nil, err
		}
		return nil, fmt.Errorf("SG_IO: %w", errno)
	}
	if header.hostStatus != 0 {
		return nil, errLost // the transport failed, or the command had no answer in time
	}
	if header.status != 0 {
		return nil, refusal(header.status, sense[:header.senseWritten])
	}
	return data[:len(data)-int(max(0, header.residual))], nil
}

// refusal reads sense data (SPC-4: fixed or descriptor format).
func refusal(status uint8, sense []byte) error {
	key, code := 0, 0
	if len(sense) >= 14 && sense[0]&0x7f < 0x72 {
		key, code = int(sense[2]&0xf), int(sense[12])<<8|int(sense[13])
	} else if len(sense) >= 4 {
		key, code = int(sense[1]&0xf), int(sense[2])<<8|int(sense[3])
	}
	return answerOf(int(status), key, code)
}
