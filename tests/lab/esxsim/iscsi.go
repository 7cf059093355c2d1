package main

/*
#cgo CFLAGS: -std=gnu11 -Wall
#cgo LDFLAGS: -liscsi
#include <stdlib.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include "iscsi_shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	errDisconnected = errors.New("no iSCSI session")
	errLost         = errors.New("the iSCSI session was lost")
	errMiscompare   = errors.New("the sector has changed (miscompare)")
	errUnsupported  = errors.New("the target does not support this command")
)

// scsiError is a command that the target refused.
type scsiError struct{ status, key, code int }

func (e scsiError) Error() string {
	return fmt.Sprintf("SCSI status %#x, sense key %#x, additional sense %#04x", e.status, e.key, e.code)
}

// request is one SCSI command on its way.
type request struct {
	ctx      context.Context
	command  *C.struct_shim_command
	retained bool          // survives the session: sent again after the next login, before anything else
	age      time.Duration // time in which this process ran while the command was at the target
	tries    int
	reply    chan response
}

type response struct {
	data []byte
	err  error
}

// Session is the host's iSCSI session. It logs in by itself, for ever; everybody else only sees whether it is there.
// libiscsi's own reconnection is off: it would hide a lost session.
type Session struct {
	portal, target string
	lun            int
	retry          time.Duration
	timeout        time.Duration
	onChange       func(connected bool) // called from the session's goroutine, in order

	wake int // eventfd

	bare bool // whatever the LUN holds, the session stays: I/O waits for a VMFS on it

	mu        sync.Mutex
	initiator string
	chap      chapSettings
	renamed   bool // name, target, LUN or secret changed: log in anew
	loggedIn  bool
	connected bool // logged in, and the LUN holds a VMFS that can be mounted
	device    *Device
	queue     []*request
}

// NewSession makes a session that Run brings up.
func NewSession(config ISCSIConfig, retry, timeout time.Duration, onChange func(bool)) (*Session, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &Session{
		initiator: config.Initiator, portal: config.Portal, target: config.Target, lun: config.LUN,
		retry: retry, timeout: timeout, onChange: onChange, wake: wake, bare: config.Target == "",
	}, nil
}

// Device is the LUN as it described itself at the latest login; nil before the first.
func (s *Session) Device() *Device {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.device
}

// Connected says whether the session lives.
func (s *Session) Connected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected
}

// Initiator is the name under which the host logs in.
func (s *Session) Initiator() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.initiator
}

// LoggedIn says whether the target admits the host, whatever the LUN holds.
func (s *Session) LoggedIn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loggedIn
}

// Use ends the session and logs in anew as *way* says; without a target it stays logged out.
func (s *Session) Use(way sessionWay) {
	s.mu.Lock()
	s.initiator, s.portal, s.target, s.lun, s.chap, s.renamed = way.Initiator, way.Portal, way.Target, way.LUN, way.Chap, true
	s.mu.Unlock()
	s.poke()
}

// Rename changes the initiator name; the session logs in anew.
func (s *Session) Rename(initiator string) error {
	s.mu.Lock()
	s.initiator, s.renamed = initiator, true
	s.mu.Unlock()
	s.poke()
	return nil
}

// Read reads whole sectors.
func (s *Session) Read(ctx context.Context, lba uint64, sectors int) ([]byte, error) {
	data, err := s.do(ctx, newCommand(C.SHIM_READ, lba, make([]byte, sectors*sectorBytes)), false)
	if err == nil && len(data) != sectors*sectorBytes {
		err = fmt.Errorf("short read at sector %d: %d bytes", lba, len(data))
	}
	return data, err
}

// Write writes whole sectors with FUA. It fails at once when there is no session.
func (s *Session) Write(ctx context.Context, lba uint64, data []byte) error {
	_, err := s.do(ctx, newCommand(C.SHIM_WRITE, lba, data), false)
	return err
}

// WriteRetained is Write for a guest's I/O: once issued it stays queued in the host over lost sessions and is sent again after
// the next login, until it is answered or ctx ends. That is what ESXi and any other initiator does with a VM's writes.
func (s *Session) WriteRetained(ctx context.Context, lba uint64, data []byte) error {
	_, err := s.do(ctx, newCommand(C.SHIM_WRITE, lba, data), true)
	return err
}

// CompareAndWrite replaces one sector if it holds old (VAAI's atomic test and set), else errMiscompare.
func (s *Session) CompareAndWrite(ctx context.Context, lba uint64, old, new []byte) error {
	both := append(append(make([]byte, 0, 2*sectorBytes), old...), new...)
	_, err := s.do(ctx, newCommand(C.SHIM_COMPARE_AND_WRITE, lba, both), false)
	return err
}

func newCommand(operation C.int, lba uint64, data []byte) *C.struct_shim_command {
	command := (*C.struct_shim_command)(C.calloc(1, C.sizeof_struct_shim_command))
	command.operation, command.lba = operation, C.uint64_t(lba)
	command.length, command.data = C.uint32_t(len(data)), (*C.uchar)(C.CBytes(data))
	return command
}

func freeCommand(command *C.struct_shim_command) {
	C.free(unsafe.Pointer(command.data))
	C.free(unsafe.Pointer(command))
}

func (s *Session) do(ctx context.Context, command *C.struct_shim_command, retained bool) ([]byte, error) {
	r := &request{ctx: ctx, command: command, retained: retained, reply: make(chan response, 1)}
	s.mu.Lock()
	if !s.connected && !retained {
		s.mu.Unlock()
		freeCommand(command)
		return nil, errDisconnected
	}
	s.queue = append(s.queue, r)
	s.mu.Unlock()
	s.poke()
	select {
	case answer := <-r.reply:
		return answer.data, answer.err
	case <-ctx.Done():
		return nil, ctx.Err() // the session's goroutine frees the command when the target is done with it
	}
}

func (s *Session) poke() {
	_, _ = unix.Write(s.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

func (r *request) finish(data []byte, err error) {
	r.reply <- response{data, err}
	freeCommand(r.command)
}

func verdict(command *C.struct_shim_command) error {
	return answerOf(int(command.status), int(command.sense_key), int(command.sense_code))
}

// answerOf is what a SCSI status with its sense data means.
func answerOf(status, key, code int) error {
	switch status {
	case C.SCSI_STATUS_GOOD:
		return nil
	case C.SCSI_STATUS_CHECK_CONDITION:
		if key == C.SCSI_SENSE_MISCOMPARE {
			return errMiscompare
		}
		if key == C.SCSI_SENSE_ILLEGAL_REQUEST && code == C.SCSI_SENSE_ASCQ_INVALID_OPERATION_CODE {
			return errUnsupported
		}
		return scsiError{status, key, code}
	case C.SCSI_STATUS_BUSY, C.SCSI_STATUS_TASK_SET_FULL, C.SCSI_STATUS_RESERVATION_CONFLICT, C.SCSI_STATUS_TASK_ABORTED:
		return scsiError{status, 0, 0}
	default: // cancelled, error, timeout: libiscsi's own
		return errLost
	}
}

// isGone: the session lives, but the LUN is not there any more (ESXi: permanent device loss).
func isGone(err error) bool {
	var refused scsiError
	return errors.As(err, &refused) && refused.key == C.SCSI_SENSE_ILLEGAL_REQUEST && refused.code == C.SCSI_SENSE_ASCQ_LOGICAL_UNIT_NOT_SUPPORTED
}

func isTransient(err error) bool {
	var refused scsiError
	return errors.As(err, &refused) && (refused.key == C.SCSI_SENSE_UNIT_ATTENTION || refused.status == C.SCSI_STATUS_BUSY ||
		refused.status == C.SCSI_STATUS_TASK_SET_FULL || refused.status == C.SCSI_STATUS_TASK_ABORTED)
}
