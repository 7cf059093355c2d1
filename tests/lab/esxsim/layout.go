package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// What lies where on the LUN (tests/lab/README.md, "The LUN"). Numbers are little-endian.
const (
	sectorBytes      = 512
	heartbeatSector  = 8
	claimSector      = 128 // one sector a host, by host_index
	claimSectors     = 64
	firstExtent      = 2048
	extentSectors    = 131072
	firstRecord      = 16 // sector inside an extent
	recordsPerExtent = extentSectors - firstRecord
	nameBytes        = 32
	signedBytes      = sectorBytes - sha256.Size

	extentCount     = 16 // in sector 0: how many extents there are, u32
	firstFileSector = 1  // sector inside an extent: two slots of the VM's files, between the lock and the records
	slotSectors     = 7
	slotBytes       = slotSectors * sectorBytes
	filesHead       = 24 + sha256.Size

	claimsHead    = 60
	claimBytes    = 12
	claimsPerHost = (signedBytes - claimsHead) / claimBytes
)

var (
	lunMagic    = []byte("LIBREHALAB1\x00")
	leaseMagic  = []byte("LHLOCK1\x00")
	claimMagic  = []byte("LHCLAIM1")
	recordMagic = []byte("LHRECORD")
	filesMagic  = []byte("LHFILES1")
	freeSector  = make([]byte, sectorBytes)
)

func extentStart(extent uint32) uint64 { return firstExtent + uint64(extent)*extentSectors }

func padded(name string) []byte {
	field := make([]byte, nameBytes)
	copy(field, name)
	return field
}

func unpadded(field []byte) string { return string(bytes.TrimRight(field, "\x00")) }

func encodeHeartbeat(counter, bootTime uint64, host string) []byte {
	sector := make([]byte, sectorBytes)
	binary.LittleEndian.PutUint64(sector[0:], counter)
	binary.LittleEndian.PutUint64(sector[8:], bootTime)
	copy(sector[16:], padded(host))
	return sector
}

// Lease is an extent's lock as it lies in the extent's first sector.
type Lease struct {
	Owner      [16]byte // the host's UUID
	Host       string
	Execution  [16]byte
	Generation uint64 // grows each time the lock changes hands
	Counter    uint64 // grows with each renewal
}

func (l Lease) encode() []byte {
	sector := make([]byte, sectorBytes)
	copy(sector[0:], leaseMagic)
	copy(sector[8:], l.Owner[:])
	copy(sector[24:], padded(l.Host))
	copy(sector[56:], l.Execution[:])
	binary.LittleEndian.PutUint64(sector[72:], l.Generation)
	binary.LittleEndian.PutUint64(sector[80:], l.Counter)
	return sector
}

// decodeLease returns nil for a free lock. A sector that is neither a lease nor free is an error: nobody may take it.
func decodeLease(sector []byte) (*Lease, error) {
	if bytes.Equal(sector, freeSector) {
		return nil, nil
	}
	if len(sector) != sectorBytes || !bytes.HasPrefix(sector, leaseMagic) {
		return nil, errors.New("the extent's first sector holds something that is not a lock lease")
	}
	lease := &Lease{
		Host:       unpadded(sector[24:56]),
		Generation: binary.LittleEndian.Uint64(sector[72:]),
		Counter:    binary.LittleEndian.Uint64(sector[80:]),
	}
	copy(lease.Owner[:], sector[8:24])
	copy(lease.Execution[:], sector[56:72])
	return lease, nil
}

// sameHolder says whether two leases are of one execution: the counter may differ.
func (l Lease) sameHolder(other Lease) bool {
	return l.Owner == other.Owner && l.Execution == other.Execution && l.Generation == other.Generation
}

// Record is one write of a VM's workload.
type Record struct {
	Extent    uint32
	Sequence  uint64
	BootTime  uint64 // CLOCK_BOOTTIME, nanoseconds
	Host      string
	Execution [16]byte
	Previous  [32]byte // SHA-256 of the whole record before this one
}

func (r Record) encode() []byte {
	sector := make([]byte, sectorBytes)
	copy(sector[0:], recordMagic)
	binary.LittleEndian.PutUint32(sector[8:], r.Extent)
	binary.LittleEndian.PutUint64(sector[16:], r.Sequence)
	binary.LittleEndian.PutUint64(sector[24:], r.BootTime)
	copy(sector[32:], padded(r.Host))
	copy(sector[64:], r.Execution[:])
	copy(sector[80:], r.Previous[:])
	sum := sha256.Sum256(sector[:signedBytes])
	copy(sector[signedBytes:], sum[:])
	return sector
}

// decodeRecord returns nil for a sector that is not a whole and valid record.
func decodeRecord(sector []byte) *Record {
	if len(sector) != sectorBytes || !bytes.HasPrefix(sector, recordMagic) {
		return nil
	}
	if sum := sha256.Sum256(sector[:signedBytes]); !bytes.Equal(sum[:], sector[signedBytes:]) {
		return nil
	}
	record := &Record{
		Extent:   binary.LittleEndian.Uint32(sector[8:]),
		Sequence: binary.LittleEndian.Uint64(sector[16:]),
		BootTime: binary.LittleEndian.Uint64(sector[24:]),
		Host:     unpadded(sector[32:64]),
	}
	copy(record.Execution[:], sector[64:80])
	copy(record.Previous[:], sector[80:112])
	return record
}
