package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestVmxKeepsWhatItDoesNotKnow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vm.vmx")
	before := "#!/usr/bin/vmware\n.encoding = \"UTF-8\"\ndisplayName = \"a |22b|22\"\nmemSize=\"2048\"\n"
	if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := readVMX(folderStore(filepath.Dir(path)), filepath.Base(path))
	if err != nil {
		t.Fatal(err)
	}
	if file.get("displayname") != `a "b"` || file.number("memSize", 0) != 2048 || file.get("none") != "" {
		t.Errorf("%+v", file.lines)
	}
	file.set("MemSize", "4096")
	file.set("uuid.location", "x")
	if err := file.save(); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(path)
	expected := strings.Replace(before, "memSize=\"2048\"", "memSize = \"4096\"", 1) + "uuid.location = \"x\"\n"
	if string(after) != expected {
		t.Errorf("%q, expected %q", after, expected)
	}
}

func TestLocationDiffersByHostAndPath(t *testing.T) {
	one, two := uuid.New(), uuid.New()
	here := locationUUID(one, "/vmfs/volumes/u/vm/vm.vmx")
	if here != locationUUID(one, "/vmfs/volumes/u/vm/vm.vmx") {
		t.Error("not stable")
	}
	if here == locationUUID(two, "/vmfs/volumes/u/vm/vm.vmx") || here == locationUUID(one, "/vmfs/volumes/u/vm2/vm.vmx") {
		t.Error("the same elsewhere")
	}
	if back, ok := parseUUID(vmwareUUID(here)); !ok || back != here {
		t.Error("its .vmx spelling does not read back")
	}
}

func TestRegistrationsSurvive(t *testing.T) {
	folder := t.TempDir()
	r, err := loadRegistrations(folder)
	if err != nil {
		t.Fatal(err)
	}
	one, _, _ := r.add("[shared] a/a.vmx")
	two, _, _ := r.add("[shared] b/b.vmx")
	if _, known, _ := r.add("[shared] b/b.vmx"); known != two.ID {
		t.Errorf("registered twice, as %d and as %d", two.ID, known)
	}
	if err := r.remove(one.ID); err != nil {
		t.Fatal(err)
	}
	again, err := loadRegistrations(folder)
	if err != nil || len(again.VMs) != 1 || again.VMs[0] != two || again.Next != 3 {
		t.Errorf("%+v %v", again, err)
	}
}
