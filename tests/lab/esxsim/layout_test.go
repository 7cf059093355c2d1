package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

func TestRecordLiesOnDiskAsTheContractSays(t *testing.T) {
	record := Record{Extent: 3, Sequence: 0x0102030405060708, BootTime: 9, Host: "esx1", Execution: [16]byte{0xaa}, Previous: [32]byte{0xbb}}
	sector := record.encode()
	if len(sector) != 512 {
		t.Fatalf("%d bytes", len(sector))
	}
	head := "4c485245434f5244" + "03000000" + "00000000" + "0807060504030201" + "0900000000000000" + hex.EncodeToString([]byte("esx1"))
	if got := hex.EncodeToString(sector[:len(head)/2]); got != head {
		t.Errorf("head %s, expected %s", got, head)
	}
	if sector[64] != 0xaa || sector[80] != 0xbb || !allZero(sector[112:480]) {
		t.Error("execution, previous hash or padding are elsewhere")
	}
	if sum := sha256.Sum256(sector[:480]); !bytes.Equal(sum[:], sector[480:]) {
		t.Error("the last 32 bytes are not the hash of the first 480")
	}
	if back := decodeRecord(sector); back == nil || *back != record {
		t.Errorf("read back as %+v", back)
	}
}

func TestTornRecordIsNoRecord(t *testing.T) {
	sector := Record{Sequence: 1, Host: "esx1"}.encode()
	for _, at := range []int{0, 16, 100, 511} {
		torn := bytes.Clone(sector)
		torn[at] ^= 1
		if decodeRecord(torn) != nil {
			t.Errorf("a record with byte %d changed was accepted", at)
		}
	}
}

func TestLeaseLiesOnDiskAsTheContractSays(t *testing.T) {
	lease := Lease{Owner: [16]byte{1, 2}, Host: "esx2", Execution: [16]byte{3}, Generation: 5, Counter: 6}
	sector := lease.encode()
	if !bytes.HasPrefix(sector, []byte("LHLOCK1\x00\x01\x02")) || string(sector[24:28]) != "esx2" || sector[56] != 3 || sector[72] != 5 || sector[80] != 6 {
		t.Errorf("% x", sector[:96])
	}
	if back, err := decodeLease(sector); err != nil || *back != lease {
		t.Errorf("read back as %+v, %v", back, err)
	}
	if free, err := decodeLease(make([]byte, 512)); free != nil || err != nil {
		t.Errorf("an empty sector is a free lock, not %v, %v", free, err)
	}
	if _, err := decodeLease(bytes.Repeat([]byte{7}, 512)); err == nil {
		t.Error("a foreign sector passed for a lock")
	}
}

func TestCanonicalNamePrefersNAA(t *testing.T) {
	page := []byte{0, 0x83, 0, 24, 2, 1, 0, 8, 'I', 'E', 'T', ' ', 'x', 'y', 'z', 0, 1, 3, 0, 8, 0x60, 1, 2, 3, 4, 5, 6, 7}
	if name, _ := canonicalName(page); name != "naa.6001020304050607" {
		t.Error(name)
	}
	if name, _ := canonicalName(page[:16]); name != "t10.IET_xyz" {
		t.Error(name)
	}
}
