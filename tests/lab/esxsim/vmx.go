package main

import (
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// vmxFile is a VM's configuration file: lines of `key = "value"`, kept in order, other lines kept as they are.
type vmxFile struct {
	store fileStore
	path  string // below the store
	lines []vmxLine
}

type vmxLine struct{ key, value, raw string }

func readVMX(store fileStore, path string) (*vmxFile, error) {
	files, err := store.open()
	if err != nil {
		return nil, err
	}
	content, err := fs.ReadFile(files, path)
	if err != nil {
		return nil, err
	}
	file := &vmxFile{store: store, path: path}
	for _, raw := range strings.Split(strings.TrimRight(string(content), "\n"), "\n") {
		line := vmxLine{raw: raw}
		key, value, found := strings.Cut(raw, "=")
		if key = strings.TrimSpace(key); found && key != "" && !strings.HasPrefix(key, "#") {
			value = strings.TrimSpace(value)
			if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
				return nil, fmt.Errorf("%s: no quoted value in the line %q", path, raw)
			}
			line.key, line.value = key, strings.ReplaceAll(strings.ReplaceAll(value[1:len(value)-1], "|22", `"`), "|7C", "|")
		}
		file.lines = append(file.lines, line)
	}
	return file, nil
}

func (f *vmxFile) get(key string) string {
	for _, line := range f.lines {
		if strings.EqualFold(line.key, key) {
			return line.value
		}
	}
	return ""
}

func (f *vmxFile) number(key string, otherwise int64) int64 {
	if value, err := strconv.ParseInt(f.get(key), 10, 64); err == nil {
		return value
	}
	return otherwise
}

func (f *vmxFile) yes(key string) bool { return strings.EqualFold(f.get(key), "true") }

func (f *vmxFile) set(key, value string) {
	for i := range f.lines {
		if strings.EqualFold(f.lines[i].key, key) {
			f.lines[i].value = value
			return
		}
	}
	f.lines = append(f.lines, vmxLine{key: key, value: value})
}

// save replaces the file in one step.
func (f *vmxFile) save() error { return f.store.replace(f.path, []byte(f.text())) }

func (f *vmxFile) text() string {
	var text strings.Builder
	for _, line := range f.lines {
		if line.key == "" {
			text.WriteString(line.raw + "\n")
			continue
		}
		value := strings.ReplaceAll(strings.ReplaceAll(line.value, "|", "|7C"), `"`, "|22")
		fmt.Fprintf(&text, "%s = \"%s\"\n", line.key, value)
	}
	return text.String()
}

// replaceFile writes a file so that after a crash there is the old or the new one: new file, fsync, rename, fsync of the folder.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(content)
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// vmwareUUID is a UUID as .vmx files spell it: "56 4d 7a 31 c9 1e 5b 0c-8a 1d 33 0e 7f 52 9c 44".
func vmwareUUID(id uuid.UUID) string {
	var octets []string
	for _, octet := range id {
		octets = append(octets, hex.EncodeToString([]byte{octet}))
	}
	return strings.Join(octets[:8], " ") + "-" + strings.Join(octets[8:], " ")
}

func parseUUID(text string) (uuid.UUID, bool) {
	id, err := uuid.Parse(strings.NewReplacer(" ", "", "-", "").Replace(text))
	return id, err == nil
}

// locationUUID is what uuid.location holds for a VM at a place: a host and a path on it. Another host computes another one.
func locationUUID(host uuid.UUID, path string) uuid.UUID {
	id := uuid.NewSHA1(host, []byte(path))
	id[0], id[1] = 0x56, 0x4d // VMware's prefix for UUIDs made from a location
	return id
}
