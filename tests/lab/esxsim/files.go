package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing/fstest"
	"time"
)

// fileStore is where a datastore's files are.
type fileStore interface {
	open() (fs.FS, error)                                             // the files as they are now
	replace(name string, content []byte) error                        // in one step: after a crash there is the old file or the new one
	add(folder string, extent *uint32, files map[string]string) error // a new folder; the extent is the caller's, under its lock
	folders() int                                                     // how many folders the root has; never waits for the LUN
}

// folderStore keeps them in a folder of this machine.
type folderStore string

func (f folderStore) open() (fs.FS, error) { return os.DirFS(string(f)), nil }

func (f folderStore) replace(name string, content []byte) error {
	return replaceFile(filepath.Join(string(f), filepath.FromSlash(name)), content, 0o644)
}

func (f folderStore) add(folder string, _ *uint32, files map[string]string) error {
	if err := os.Mkdir(filepath.Join(string(f), filepath.FromSlash(folder)), 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if err := f.replace(path.Join(folder, name), []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

func (f folderStore) folders() int {
	count := 0
	if entries, err := os.ReadDir(string(f)); err == nil {
		for _, entry := range entries {
			if entry.IsDir() {
				count++
			}
		}
	}
	return count
}

// lunStore keeps a VM's folder on the LUN, in the VM's own extent, and reaches it through the host's session like the VM's disk.
// A file area is two slots, so that a write that a crash tears leaves the older one whole.
type lunStore struct {
	disk    disk
	timeout time.Duration
	known   atomic.Int64 // folders at the latest opening
}

// fileArea is the valid slot of one extent.
type fileArea struct {
	extent     uint32
	slot       int
	generation uint64
	Folder     string            `json:"folder"`
	Files      map[string]string `json:"files"`
}

func (l *lunStore) areas() ([]fileArea, error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	head, err := l.disk.Read(ctx, 0, 1)
	if err != nil {
		return nil, err
	}
	var found []fileArea
	for extent := range binary.LittleEndian.Uint32(head[extentCount:]) {
		raw, err := l.disk.Read(ctx, extentStart(extent)+firstFileSector, 2*slotSectors)
		if err != nil {
			return nil, err
		}
		var newest *fileArea
		for slot := range 2 {
			area := decodeFiles(raw[slot*slotBytes : (slot+1)*slotBytes])
			if area != nil && (newest == nil || area.generation > newest.generation) {
				area.extent, area.slot = extent, slot
				newest = area
			}
		}
		if newest != nil {
			found = append(found, *newest)
		}
	}
	l.known.Store(int64(len(found)))
	return found, nil
}

func (l *lunStore) open() (fs.FS, error) {
	areas, err := l.areas()
	if err != nil {
		return nil, err
	}
	files := fstest.MapFS{}
	for _, area := range areas {
		for name, content := range area.Files {
			files[path.Join(area.Folder, name)] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
		}
	}
	return files, nil
}

// replace is for the host that holds the VM's lock, as any change of a VM's files is.
func (l *lunStore) replace(name string, content []byte) error {
	folder, base := path.Split(name)
	areas, err := l.areas()
	if err != nil {
		return err
	}
	for _, area := range areas {
		if area.Folder != strings.TrimSuffix(folder, "/") {
			continue
		}
		area.Files[base] = string(content)
		area.generation++
		raw, err := area.encode()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
		defer cancel()
		return l.disk.Write(ctx, extentStart(area.extent)+firstFileSector+uint64((1-area.slot)*slotSectors), raw)
	}
	return fmt.Errorf("%s: %w", name, os.ErrNotExist)
}

// add overwrites whatever an earlier VM left in the extent's file area.
func (l *lunStore) add(folder string, extent *uint32, files map[string]string) error {
	if extent == nil {
		return errors.New("the datastore on the LUN needs an extent")
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	at := extentStart(*extent) + firstFileSector
	if err := l.disk.Write(ctx, at, make([]byte, 2*slotBytes)); err != nil {
		return err
	}
	raw, err := fileArea{generation: 1, Folder: folder, Files: files}.encode()
	if err != nil {
		return err
	}
	return l.disk.Write(ctx, at, raw)
}

func (l *lunStore) folders() int { return int(l.known.Load()) }

func (a fileArea) encode() ([]byte, error) {
	content, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	if len(content) > slotBytes-filesHead {
		return nil, errors.New("the VM's files do not fit into its extent's file area")
	}
	raw := make([]byte, slotBytes)
	copy(raw, filesMagic)
	binary.LittleEndian.PutUint64(raw[8:], a.generation)
	binary.LittleEndian.PutUint32(raw[16:], uint32(len(content)))
	copy(raw[filesHead:], content)
	sum := filesSum(raw, len(content))
	copy(raw[24:], sum[:])
	return raw, nil
}

// decodeFiles returns nil for a slot that holds no whole and valid file area.
func decodeFiles(raw []byte) *fileArea {
	length := int(binary.LittleEndian.Uint32(raw[16:]))
	if !bytes.HasPrefix(raw, filesMagic) || length > slotBytes-filesHead {
		return nil
	}
	if sum := filesSum(raw, length); !bytes.Equal(sum[:], raw[24:filesHead]) {
		return nil
	}
	area := &fileArea{generation: binary.LittleEndian.Uint64(raw[8:])}
	if json.Unmarshal(raw[filesHead:filesHead+length], area) != nil {
		return nil
	}
	return area
}

// filesSum covers generation, length and content.
func filesSum(raw []byte, length int) [sha256.Size]byte {
	return sha256.Sum256(append(bytes.Clone(raw[8:24]), raw[filesHead:filesHead+length]...))
}
