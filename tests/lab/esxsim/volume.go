package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// volumeHead is what a LUN's first sector says of the VMFS on it. UUID and label are empty on a LUN that the lab prepared: there the
// host's configuration has them.
type volumeHead struct {
	UUID, Label string
	Disk        string // canonical name of the disk it was made on; another one now: a copy (a snapshot, or another server's)
	Extents     uint32
}

// Places in sector 0, behind lunMagic and the count of extents; each text has its length before it.
const (
	headUUID  = 32
	headLabel = 96
	headDisk  = 192
	headText  = 80
)

func (v volumeHead) encode() []byte {
	sector := make([]byte, sectorBytes)
	copy(sector, lunMagic)
	binary.LittleEndian.PutUint32(sector[extentCount:], v.Extents)
	for at, text := range map[int]string{headUUID: v.UUID, headLabel: v.Label, headDisk: v.Disk} {
		text = text[:min(len(text), headText)]
		sector[at] = byte(len(text))
		copy(sector[at+1:], text)
	}
	return sector
}

// decodeVolume returns nil for a first sector that is none of a VMFS.
func decodeVolume(sector []byte) *volumeHead {
	if !bytes.HasPrefix(sector, lunMagic) {
		return nil
	}
	text := func(at int) string {
		length := min(int(sector[at]), headText)
		return string(sector[at+1 : at+1+length])
	}
	return &volumeHead{text(headUUID), text(headLabel), text(headDisk), binary.LittleEndian.Uint32(sector[extentCount:])}
}

// newVolumeUUID is of VMFS' form: time of creation and random, 8-8-4-12 digits.
func newVolumeUUID() string {
	random := uuid.New()
	return fmt.Sprintf("%08x-%x-%x-%x", uint32(time.Now().Unix()), random[0:4], random[4:6], random[6:12])
}
