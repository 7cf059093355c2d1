package main

/*
#include <stdlib.h>
#include <iscsi/iscsi.h>
#include "iscsi_shim.h"
*/
import "C"

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unsafe"
)

// Device is a LUN as it describes itself (SPC-4: standard INQUIRY, pages 0x80 and 0x83; SBC-3: READ CAPACITY).
type Device struct {
	Vendor, Model, Revision string
	Serial                  string
	CanonicalName           string // as ESXi builds it: naa.…, eui.… or t10.…
	Inquiry                 []byte
	Designator              []byte
	Blocks                  uint64
	BlockBytes              uint32
	Volume                  *volumeHead // what its first sector says of a VMFS; nil: there is none
}

func (d *Device) bytes() int64 { return int64(d.Blocks) * int64(d.BlockBytes) }

// lunQuestion is what a LUN is asked after a login.
type lunQuestion int

const (
	askInquiry lunQuestion = iota
	askCapacity
	askSector0
)

var operations = map[lunQuestion]C.int{askInquiry: C.SHIM_INQUIRY, askCapacity: C.SHIM_CAPACITY, askSector0: C.SHIM_READ}

// identify asks a LUN who it is, directly after the login.
func (s *Session) identify(ctx context.Context, iscsi *C.struct_iscsi_context, lun int) (*Device, error) {
	return describe(lun, func(what lunQuestion, evpd, page, length int) ([]byte, error) {
		for try := 0; ; try++ {
			command := newCommand(operations[what], 0, make([]byte, length))
			command.evpd, command.page = C.int(evpd), C.int(page)
			if C.shim_submit(iscsi, C.int(lun), command) != 0 {
				freeCommand(command)
				return nil, errLost
			}
			if err := s.turnUntil(ctx, iscsi, func() bool { return command.done != 0 }); err != nil {
				return nil, err // the command is leaked on purpose: the context still points to it until it is destroyed
			}
			err := verdict(command)
			data := C.GoBytes(unsafe.Pointer(command.data), C.int(command.received))
			freeCommand(command)
			if err == nil || try == 3 || !isTransient(err) {
				return data, err
			}
		}
	})
}

// describe puts the answers together, and refuses a LUN that is not the lab's.
func describe(lun int, ask func(what lunQuestion, evpd, page, length int) ([]byte, error)) (*Device, error) {
	standard, err := ask(askInquiry, 0, 0, 96)
	if err != nil || len(standard) < 36 {
		return nil, fmt.Errorf("INQUIRY of LUN %d: %w", lun, orShort(err))
	}
	if standard[0]&0xe0 != 0 {
		return nil, fmt.Errorf("LUN %d is not there (peripheral qualifier %#x)", lun, standard[0]>>5)
	}
	capacity, err := ask(askCapacity, 0, 0, 32)
	if err != nil || len(capacity) < 12 {
		return nil, fmt.Errorf("READ CAPACITY(16) of LUN %d: %w", lun, orShort(err))
	}
	device := &Device{
		Vendor: text(standard[8:16]), Model: text(standard[16:32]), Revision: text(standard[32:36]), Inquiry: standard,
		Blocks: binary.BigEndian.Uint64(capacity) + 1, BlockBytes: binary.BigEndian.Uint32(capacity[8:]),
	}
	if device.BlockBytes != sectorBytes {
		return nil, fmt.Errorf("LUN %d has blocks of %d bytes; %d are needed", lun, device.BlockBytes, sectorBytes)
	}
	first, err := ask(askSector0, 0, 0, sectorBytes)
	if err != nil {
		return nil, fmt.Errorf("reading sector 0 of LUN %d: %w", lun, err)
	}
	device.Volume = decodeVolume(first)
	if page, err := ask(askInquiry, 1, 0x80, 255); err == nil && len(page) > 4 {
		device.Serial = text(page[4:min(len(page), 4+int(page[3]))])
	}
	if page, err := ask(askInquiry, 1, 0x83, 255); err == nil {
		device.CanonicalName, device.Designator = canonicalName(page)
	}
	if device.CanonicalName == "" {
		device.CanonicalName = fmt.Sprintf("mpx.vmhba64:C0:T0:L%d", lun)
	}
	return device, nil
}

// mountable: it holds a VMFS, and no copy of one that lies on another disk. To a stranger's disk nothing is ever written.
func (d *Device) mountable() bool {
	return d.Volume != nil && (d.Volume.Disk == "" || d.Volume.Disk == d.CanonicalName)
}

// refusal is why a host that was configured for this LUN does not use it.
func (d *Device) refusal(lun int) error {
	if d.mountable() {
		return nil
	}
	return fmt.Errorf("LUN %d is not a LUN of the lab: sector 0 does not begin with %q, or is a copy of another disk's", lun, lunMagic)
}

func orShort(err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("the answer is too short")
}

// canonicalName picks a designator of VPD page 0x83 in ESXi's order: NAA, EUI-64, T10 vendor.
func canonicalName(page []byte) (string, []byte) {
	names := map[byte]string{}
	raw := map[byte][]byte{}
	if len(page) < 4 {
		return "", nil
	}
	end := min(len(page), 4+int(binary.BigEndian.Uint16(page[2:])))
	for at := 4; at+4 <= end; {
		size := int(page[at+3])
		if at+4+size > end {
			break
		}
		kind, association, body := page[at+1]&0x0f, page[at+1]>>4&3, page[at+4:at+4+size]
		at += 4 + size
		if association != 0 || raw[kind] != nil || allZero(body) { // of the logical unit, the first of its kind
			continue
		}
		raw[kind] = body
		switch kind {
		case 3:
			names[kind] = "naa." + hex.EncodeToString(body)
		case 2:
			names[kind] = "eui." + hex.EncodeToString(body)
		case 1:
			names[kind] = "t10." + strings.Map(func(r rune) rune {
				if r <= ' ' || r > '~' {
					return '_'
				}
				return r
			}, strings.TrimRight(string(body), "\x00"))
		}
	}
	for _, kind := range []byte{3, 2, 1} {
		if names[kind] != "" {
			return names[kind], raw[kind]
		}
	}
	return "", nil
}

func allZero(data []byte) bool {
	for _, octet := range data {
		if octet != 0 {
			return false
		}
	}
	return true
}

func text(data []byte) string { return strings.TrimSpace(strings.Trim(string(data), "\x00 ")) }
