package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"sync"
	"sync/atomic"
	"time"
)

// guestDisk is what a VM's guest needs of the LUN.
type guestDisk interface {
	Read(ctx context.Context, lba uint64, sectors int) ([]byte, error)
	WriteRetained(ctx context.Context, lba uint64, data []byte) error
}

// execution is one life of a VM on this host, from power-on until it stops: its guest ticks and writes records.
type execution struct {
	id     [16]byte
	vm     string
	host   string
	extent uint32
	disk   guestDisk // nil: the guest has no workload, or no extent on the LUN, and only ticks
	log    *executionLog
	every  time.Duration

	lapsed atomic.Bool // the host knows that its lock is lost: no new write is issued
	guest  guest

	sequence uint64
	previous [32]byte

	kill     context.CancelFunc // the VM's I/O is thrown away
	ending   chan struct{}      // closed: no further tick, no further record
	endOnce  sync.Once
	finished sync.WaitGroup
}

const readAhead = 512 // sectors a read when looking for the last record

// findEnd reads the extent up to its last valid record, so that the workload goes on from there.
func (e *execution) findEnd(ctx context.Context) error {
	start := extentStart(e.extent) + firstRecord
	for e.sequence < recordsPerExtent {
		count := min(readAhead, recordsPerExtent-e.sequence)
		data, err := e.disk.Read(ctx, start+e.sequence, int(count))
		if err != nil {
			return fmt.Errorf("reading the records of extent %d: %w", e.extent, err)
		}
		for at := 0; at < len(data); at += sectorBytes {
			sector := data[at : at+sectorBytes]
			record := decodeRecord(sector)
			if record == nil || record.Extent != e.extent || record.Sequence != e.sequence {
				return nil
			}
			e.previous = sha256.Sum256(sector)
			e.sequence++
		}
	}
	return nil
}

// start lets the guest run.
func (e *execution) start() {
	var ctx context.Context
	ctx, e.kill = context.WithCancel(context.Background())
	e.ending = make(chan struct{})
	e.log.event("start", e.vm, e.id, "")
	e.finished.Add(1)
	go e.tick()
	if e.disk != nil {
		e.finished.Add(1)
		go e.write(ctx)
	}
}

// stop ends the guest. At most grace is waited for a write that is on its way; then it is thrown away.
func (e *execution) stop(why string, grace time.Duration) {
	e.endOnce.Do(func() {
		close(e.ending)
		done := make(chan struct{})
		go func() { e.finished.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(grace):
		}
		e.kill()
		<-done
		e.log.event("stop", e.vm, e.id, oneWord(why))
	})
}

func (e *execution) tick() {
	defer e.finished.Done()
	ticker := time.NewTicker(e.every)
	defer ticker.Stop()
	for {
		select {
		case <-e.ending:
			return
		case <-ticker.C:
			e.log.event("tick", e.vm, e.id, "")
		}
	}
}

// write issues one record an interval, one at a time. A record without an answer stays queued in the host and is the same record
// when it is sent again: same sequence, same content.
func (e *execution) write(ctx context.Context) {
	defer e.finished.Done()
	ticker := time.NewTicker(e.every)
	defer ticker.Stop()
	for e.sequence < recordsPerExtent {
		select {
		case <-e.ending:
			return
		case <-ticker.C:
		}
		if e.lapsed.Load() || e.guest.idle() {
			continue
		}
		sector := Record{
			Extent: e.extent, Sequence: e.sequence, BootTime: bootTime(), Host: e.host, Execution: e.id, Previous: e.previous,
		}.encode()
		if !e.put(ctx, sector) {
			return
		}
		e.guest.writes.Add(1)
		e.previous = sha256.Sum256(sector)
		e.log.event("ack", e.vm, e.id, fmt.Sprintf("%d:%s", e.sequence, hex.EncodeToString(e.previous[:])))
		e.sequence++
	}
	log.Printf("%s: extent %d is full; the guest goes on without writing", e.vm, e.extent)
}

// put writes one record until the target acknowledges it; false when the VM ended before.
func (e *execution) put(ctx context.Context, sector []byte) bool {
	for last := ""; ; {
		err := e.disk.WriteRetained(ctx, extentStart(e.extent)+firstRecord+e.sequence, sector)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if text := err.Error(); text != last && !errors.Is(err, errLost) {
			log.Printf("%s: record %d was refused: %s", e.vm, e.sequence, text)
			last = text
		}
		select {
		case <-ctx.Done():
			return false
		case <-e.ending:
			return false
		case <-time.After(e.every):
		}
	}
}

// keepLock renews a lock every quarter of a lease until ctx ends. poke asks for a renewal at once (the session came back).
// lapsed is told when the lock could not be renewed for a lease time, and when it could again; taken when another has it.
func keepLock(ctx context.Context, lock *heldLock, poke <-chan struct{}, timeout time.Duration, lapsed func(bool), taken func()) {
	lease := lock.table.lease
	renewed := hostClock()
	ticker := time.NewTicker(lease / 4)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-poke:
		}
		lock.table.renews <- struct{}{}
		attempt, cancel := context.WithTimeout(ctx, timeout+lease/4)
		err := lock.renew(attempt)
		cancel()
		<-lock.table.renews
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			renewed = hostClock()
			lapsed(false)
		case errors.Is(err, errTaken):
			taken()
			return
		case hostClock()-renewed > lease:
			lapsed(true)
		}
	}
}

// heartbeat writes the host's sign of life to the LUN, as a mounted VMFS does.
func heartbeat(ctx context.Context, session lunPath, config *Config) {
	ticker := time.NewTicker(milliseconds(config.HeartbeatIntervalMS))
	defer ticker.Stop()
	lba := uint64(heartbeatSector + config.ISCSI.HostIndex)
	for counter := uint64(1); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if session.Write(ctx, lba, encodeHeartbeat(counter, bootTime(), config.Name)) == nil {
			counter++
		}
	}
}
