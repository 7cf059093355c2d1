package main

/*
#include <stdlib.h>
#include <string.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include "iscsi_shim.h"

static int reported(struct scsi_reportluns_list *list, uint32_t index) { return list->luns[index]; }
*/
import "C"

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unsafe"
)

const headSectors = 34 // MBR, GPT header and its 128 entries

// foundLUN is a disk that a rescan found behind a target.
type foundLUN struct {
	portal, target string
	number         int
	*Device
	head []byte // its first headSectors
}

// scan is a login of its own (with an ISID of its own, so that it does not end the host's session): what a rescan asks the targets.
type scan struct {
	way   sessionWay
	iscsi *C.struct_iscsi_context
}

func openScan(way sessionWay, timeout int) (*scan, error) {
	iscsi, err := way.open(1)
	if err != nil {
		return nil, err
	}
	C.iscsi_set_timeout(iscsi, C.int(timeout))
	C.iscsi_set_noautoreconnect(iscsi, 1)
	portal := C.CString(way.Portal)
	defer C.free(unsafe.Pointer(portal))
	s := &scan{way, iscsi}
	if C.iscsi_connect_sync(iscsi, portal) != 0 || C.iscsi_login_sync(iscsi) != 0 {
		return nil, s.fail("login to " + way.Portal)
	}
	return s, nil
}

func (s *scan) fail(what string) error {
	err := fmt.Errorf("%s: %s", what, strings.TrimSpace(C.GoString(C.iscsi_get_error(s.iscsi))))
	C.iscsi_destroy_context(s.iscsi)
	return err
}

func (s *scan) close() {
	C.iscsi_logout_sync(s.iscsi)
	C.iscsi_destroy_context(s.iscsi)
}

// discover asks a portal for its targets (SendTargets, RFC 7143, appendix C).
func discover(way sessionWay, timeout int) ([]staticTarget, error) {
	way.Target = ""
	way.Chap.MutualUser, way.Chap.MutualSecret = "", "" // targets authenticate themselves at the login that matters (libiscsi refuses one that does not here)
	s, err := openScan(way, timeout)
	if err != nil {
		return nil, err
	}
	defer s.close()
	answer := C.iscsi_discovery_sync(s.iscsi)
	defer C.iscsi_free_discovery_data(s.iscsi, answer)
	var found []staticTarget
	for address := answer; address != nil; address = address.next {
		for portal := address.portals; portal != nil; portal = portal.next {
			place, _, _ := strings.Cut(C.GoString(portal.portal), ",") // without the portal group's tag
			found = append(found, staticTarget{place, C.GoString(address.target_name)})
		}
	}
	return found, nil
}

// disks are the LUNs of a target that are disks.
func (s *scan) disks() ([]foundLUN, error) {
	task := C.iscsi_reportluns_sync(s.iscsi, 0, 4096)
	if task == nil || task.status != C.SCSI_STATUS_GOOD {
		return nil, errors.New("REPORT LUNS failed")
	}
	defer C.scsi_free_scsi_task(task)
	list := (*C.struct_scsi_reportluns_list)(C.scsi_datain_unmarshall(task))
	if list == nil {
		return nil, errors.New("REPORT LUNS: an answer that cannot be read")
	}
	var found []foundLUN
	for index := range list.num {
		number := int(C.reported(list, C.uint32_t(index)))
		device, err := describe(number, func(what lunQuestion, evpd, page, length int) ([]byte, error) {
			return s.ask(number, what, evpd, page, length)
		})
		if err != nil || device.Inquiry[0]&0x1f != 0 { // no direct access device: tgt's controller at LUN 0
			continue
		}
		head, err := s.read(number, headSectors)
		if err != nil {
			return nil, err
		}
		found = append(found, foundLUN{s.way.Portal, s.way.Target, number, device, head})
	}
	return found, nil
}

func (s *scan) ask(lun int, what lunQuestion, evpd, page, length int) ([]byte, error) {
	return s.answer(func() *C.struct_scsi_task {
		switch what {
		case askInquiry:
			return C.iscsi_inquiry_sync(s.iscsi, C.int(lun), C.int(evpd), C.int(page), C.int(length))
		case askCapacity:
			return C.iscsi_readcapacity16_sync(s.iscsi, C.int(lun))
		default:
			return C.iscsi_read16_sync(s.iscsi, C.int(lun), 0, C.uint32_t(length), sectorBytes, 0, 0, 0, 0, 0)
		}
	})
}

func (s *scan) read(lun, sectors int) ([]byte, error) {
	return s.answer(func() *C.struct_scsi_task {
		return C.iscsi_read16_sync(s.iscsi, C.int(lun), 0, C.uint32_t(sectors*sectorBytes), sectorBytes, 0, 0, 0, 0, 0)
	})
}

func (s *scan) write(lun int, lba uint64, data []byte) error {
	raw := C.CBytes(data)
	defer C.free(raw)
	_, err := s.answer(func() *C.struct_scsi_task {
		return C.iscsi_write16_sync(s.iscsi, C.int(lun), C.uint64_t(lba), (*C.uchar)(raw), C.uint32_t(len(data)), sectorBytes, 0, 0, 1, 0, 0)
	})
	return err
}

// answer sends a command, again after a unit attention: each new session hears of what happened before it.
func (s *scan) answer(send func() *C.struct_scsi_task) ([]byte, error) {
	for try := 0; ; try++ {
		task := send()
		if task == nil {
			return nil, errLost
		}
		err := answerOf(int(task.status), int(task.sense.key), int(task.sense.ascq))
		data := C.GoBytes(unsafe.Pointer(task.datain.data), task.datain.size)
		C.scsi_free_scsi_task(task)
		if err == nil || try == 3 || !isTransient(err) {
			return data, err
		}
	}
}

// partition is one entry of a disk's partition table, in sectors.
type partition struct {
	number     int32
	start, end int64
	kind, guid string
}

var (
	vmfsGUID = "aa31e02a400f11db9590000c2911d1b8"
	gptKinds = map[string]string{vmfsGUID: "vmfs", "0fc63daf848347728e793d69d8477de4": "linuxNative"}
	mbrKinds = map[byte]string{0xfb: "vmfs", 0x83: "linuxNative", 0x82: "linuxSwap", 0x05: "extended", 0x0c: "none"}
)

// partitions reads the table as ESXi shows it: its format and what it lists. A file system that lies on the whole disk, without a table,
// is not seen: format "unknown", no partition, as a blank disk.
func (l foundLUN) partitions() (format string, found []partition) {
	switch {
	case l.Volume != nil: // here the VMFS lies on the whole LUN; ESXi makes one partition for it
		return "gpt", []partition{{1, 2048, int64(l.Blocks) - 2048, "vmfs", vmfsGUID}}
	case bytes.HasPrefix(l.head[sectorBytes:], []byte("EFI PART")):
		for index := range 128 {
			entry := l.head[2*sectorBytes+index*128:][:128]
			if allZero(entry[:16]) {
				continue
			}
			guid := hex.EncodeToString(mixedEndian(entry[:16]))
			first, last := binary.LittleEndian.Uint64(entry[32:]), binary.LittleEndian.Uint64(entry[40:])
			kind := gptKinds[guid]
			if kind == "" {
				kind = "none"
			}
			found = append(found, partition{int32(index + 1), int64(first), int64(last), kind, guid})
		}
		return "gpt", found
	case l.head[510] == 0x55 && l.head[511] == 0xaa:
		for index := range 4 {
			entry := l.head[446+16*index:][:16]
			if entry[4] == 0 {
				continue
			}
			first, size := binary.LittleEndian.Uint32(entry[8:]), binary.LittleEndian.Uint32(entry[12:])
			kind := mbrKinds[entry[4]]
			if kind == "" {
				kind = "none"
			}
			found = append(found, partition{int32(index + 1), int64(first), int64(first) + int64(size) - 1, kind, ""})
		}
		return "mbr", found
	}
	return "unknown", nil
}

// mixedEndian: a GUID's first three fields are little-endian on disk (UEFI specification, appendix A).
func mixedEndian(raw []byte) []byte {
	guid := bytes.Clone(raw)
	for _, field := range [][2]int{{0, 4}, {4, 6}, {6, 8}} {
		for i, j := field[0], field[1]-1; i < j; i, j = i+1, j-1 {
			guid[i], guid[j] = guid[j], guid[i]
		}
	}
	return guid
}
