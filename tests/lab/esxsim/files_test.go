package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"
)

// lunWithFolder is a store on a LUN with two extents, of which the second holds the folder "vm1".
func lunWithFolder(t *testing.T) (*target, *Session, *lunStore) {
	g := startTarget(t, 2)
	s := g.connect("esx1")
	head := make([]byte, sectorBytes)
	copy(head, lunMagic)
	binary.LittleEndian.PutUint32(head[extentCount:], 2)
	area, err := fileArea{generation: 1, Folder: "vm1", Files: map[string]string{"vm1.vmx": "displayName = \"vm1\"\n"}}.encode()
	if err != nil {
		t.Fatal(err)
	}
	for lba, data := range map[uint64][]byte{0: head, extentStart(1) + firstFileSector: area} {
		if err := s.Write(context.Background(), lba, data); err != nil {
			t.Fatal(err)
		}
	}
	return g, s, &lunStore{disk: s, timeout: 5 * time.Second}
}

func TestAFileOnTheLunIsReplacedInOneStep(t *testing.T) {
	_, s, store := lunWithFolder(t)
	for range 3 {
		file, err := readVMX(store, "vm1/vm1.vmx")
		if err != nil {
			t.Fatal(err)
		}
		file.set("memSize", file.get("memSize")+"1")
		if err := file.save(); err != nil {
			t.Fatal(err)
		}
	}
	if file, err := readVMX(store, "vm1/vm1.vmx"); err != nil || file.get("memSize") != "111" || file.get("displayName") != "vm1" {
		t.Fatalf("%v", err)
	}
	// the newest slot is torn, as by a host that died while it wrote: the one before is whole
	areas, err := store.areas()
	if err != nil || len(areas) != 1 || areas[0].generation != 4 || store.folders() != 1 {
		t.Fatalf("%+v, %v", areas, err)
	}
	newest := extentStart(1) + firstFileSector + uint64(areas[0].slot*slotSectors)
	if err := s.Write(context.Background(), newest, make([]byte, sectorBytes)); err != nil {
		t.Fatal(err)
	}
	if file, err := readVMX(store, "vm1/vm1.vmx"); err != nil || file.get("memSize") != "11" {
		t.Errorf("after a torn write: %v", err)
	}
}

func TestFilesOnTheLunAreListedAndMissed(t *testing.T) {
	g, s, store := lunWithFolder(t)
	files, err := store.open()
	if err != nil {
		t.Fatal(err)
	}
	entries, err := fs.ReadDir(files, ".")
	if err != nil || len(entries) != 1 || entries[0].Name() != "vm1" || !entries[0].IsDir() {
		t.Errorf("%v, %v", entries, err)
	}
	if _, err := readVMX(store, "vm0/vm0.vmx"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := store.replace("vm0/vm0.vmx", []byte("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder without an extent: %v", err)
	}
	g.fence("esx1")
	wait(t, "the loss", func() bool { return !s.Connected() })
	if _, err := store.open(); !errors.Is(err, errDisconnected) {
		t.Errorf("without a session: %v", err)
	}
}
