package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// disk is what locks need of the LUN.
type disk interface {
	Read(ctx context.Context, lba uint64, sectors int) ([]byte, error)
	Write(ctx context.Context, lba uint64, data []byte) error
	CompareAndWrite(ctx context.Context, lba uint64, old, new []byte) error
}

// lockedError: the lock is another's, who is alive or may be.
type lockedError struct{ by Lease }

func (e lockedError) Error() string { return fmt.Sprintf("the file is locked by host %s", e.by.Host) }

// errTaken: a lock that this host held is another's now.
var errTaken = errors.New("the lock was taken by another host")

// sighting is when, on this host's clock, another's lease was first seen as it is.
type sighting struct {
	lease Lease
	since time.Duration
}

// Where the target has no COMPARE AND WRITE (tgt 1.0.85 has none), taking a lock is reading, writing, waiting and reading again.
const (
	settle = 300 * time.Millisecond // from the write to the second reading
	prompt = settle / 2             // at most this from the first reading to the end of the write
)

// lockTable takes, renews and releases the extents' lock leases for one host.
//
// Invariant: a lock is taken from another host only if its lease was read twice, unchanged, more than a lease time apart on this
// host's clock; and of two hosts that try at once, at most one gets it.
// With COMPARE AND WRITE (VAAI's atomic test and set) the second part holds because every change is one on what was read.
// Without it: let both A and B succeed, and A's write land first. B read before that, or it had seen A's lease. B's write landed at
// most `prompt` after B's reading, so within `settle` of A's write, and A's second reading has seen it: a contradiction. Who was
// not prompt (a process that was stopped in between) may have overwritten a good lock: it keeps off that lock for a lease time, in
// which the lock's owner sees what happened and kills its VM.
type lockTable struct {
	disk  disk
	owner [16]byte
	host  string
	lease time.Duration
	clock func() time.Duration

	mu       sync.Mutex
	seen     map[uint32]sighting
	held     map[uint32]*heldLock
	taking   map[uint32]bool
	distrust map[uint32]time.Duration // until when this host keeps off a lock
}

func newLockTable(d disk, owner [16]byte, host string, lease time.Duration, clock func() time.Duration) *lockTable {
	return &lockTable{disk: d, owner: owner, host: host, lease: lease, clock: clock, seen: map[uint32]sighting{}, held: map[uint32]*heldLock{},
		taking: map[uint32]bool{}, distrust: map[uint32]time.Duration{}}
}

// heldLock is a lock that this host holds, or believes to hold.
type heldLock struct {
	table  *lockTable
	extent uint32

	mu   sync.Mutex
	last Lease
}

// acquire takes an extent's lock or returns lockedError. It never waits: aging is tracked between attempts, as on ESXi.
func (t *lockTable) acquire(ctx context.Context, extent uint32, execution [16]byte) (*heldLock, error) {
	t.mu.Lock()
	held, taking, until := t.held[extent], t.taking[extent], t.distrust[extent]
	if held == nil && !taking && t.clock() >= until {
		t.taking[extent] = true
		defer func() {
			t.mu.Lock()
			delete(t.taking, extent)
			t.mu.Unlock()
		}()
	}
	t.mu.Unlock()
	if held != nil || taking || t.clock() < until {
		return nil, lockedError{Lease{Owner: t.owner, Host: t.host}}
	}
	for try := 0; ; try++ {
		lock, err := t.tryAcquire(ctx, extent, execution)
		if errors.Is(err, errMiscompare) && try < 3 {
			continue // it changed between reading and writing: look again
		}
		return lock, err
	}
}

func (t *lockTable) tryAcquire(ctx context.Context, extent uint32, execution [16]byte) (*heldLock, error) {
	sector, err := t.disk.Read(ctx, extentStart(extent), 1)
	if err != nil {
		return nil, err
	}
	current, err := decodeLease(sector)
	if err != nil {
		return nil, err
	}
	wanted := Lease{Owner: t.owner, Host: t.host, Execution: execution, Generation: 1, Counter: 1}
	if current != nil {
		wanted.Generation = current.Generation + 1
		if current.Owner != t.owner && !t.aged(extent, *current) {
			return nil, lockedError{*current}
		}
	}
	if err := t.take(ctx, extent, sector, wanted.encode()); err != nil {
		return nil, err
	}
	lock := &heldLock{table: t, extent: extent, last: wanted}
	t.mu.Lock()
	delete(t.seen, extent)
	t.held[extent] = lock
	t.mu.Unlock()
	return lock, nil
}

// aged says whether a lease of another host has stayed as it is for more than a lease time, and remembers it.
func (t *lockTable) aged(extent uint32, current Lease) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clock()
	if seen, known := t.seen[extent]; known && seen.lease == current {
		return now-seen.since > t.lease
	}
	t.seen[extent] = sighting{current, now}
	return false
}

// take puts a new lease where old was read, so that of several hosts that do so at once at most one succeeds.
func (t *lockTable) take(ctx context.Context, extent uint32, old, lease []byte) error {
	lba := extentStart(extent)
	err := t.disk.CompareAndWrite(ctx, lba, old, lease)
	if !errors.Is(err, errUnsupported) {
		return err
	}
	begun := hostClock()
	now, err := t.disk.Read(ctx, lba, 1)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, old) {
		return errMiscompare
	}
	err = t.disk.Write(ctx, lba, lease)
	if err != nil || hostClock()-begun > prompt {
		t.mu.Lock()
		t.distrust[extent] = t.clock() + t.lease
		t.mu.Unlock()
		if err == nil {
			err = lockedError{Lease{Owner: t.owner, Host: t.host}}
		}
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settle):
	}
	if now, err = t.disk.Read(ctx, lba, 1); err == nil && !bytes.Equal(now, lease) {
		return errMiscompare
	}
	return err
}

// replace is an atomic test and set; where the target has no COMPARE AND WRITE, a read before and a write.
func (t *lockTable) replace(ctx context.Context, lba uint64, old, new []byte) error {
	err := t.disk.CompareAndWrite(ctx, lba, old, new)
	if !errors.Is(err, errUnsupported) {
		return err
	}
	now, err := t.disk.Read(ctx, lba, 1)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, old) {
		return errMiscompare
	}
	return t.disk.Write(ctx, lba, new)
}

// renew reads the lease and, if it is still this holder's, counts it up. errTaken: it is not.
func (l *heldLock) renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	lba := extentStart(l.extent)
	for try := 0; ; try++ {
		sector, err := l.table.disk.Read(ctx, lba, 1)
		if err != nil {
			return err
		}
		current, err := decodeLease(sector)
		if err != nil {
			return err
		}
		if current == nil || !current.sameHolder(l.last) {
			return errTaken
		}
		next := *current
		next.Counter++
		err = l.table.replace(ctx, lba, sector, next.encode())
		if errors.Is(err, errMiscompare) && try < 3 {
			continue
		}
		if err == nil {
			l.last = next
		}
		return err
	}
}

// release frees the lock if it is still held. The table forgets it in any case.
func (l *heldLock) release(ctx context.Context) error {
	l.forget()
	l.mu.Lock()
	defer l.mu.Unlock()
	lba := extentStart(l.extent)
	sector, err := l.table.disk.Read(ctx, lba, 1)
	if err != nil {
		return err
	}
	current, err := decodeLease(sector)
	if err != nil || current == nil || !current.sameHolder(l.last) {
		return err
	}
	return l.table.replace(ctx, lba, sector, freeSector)
}

func (l *heldLock) forget() {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if l.table.held[l.extent] == l {
		delete(l.table.held, l.extent)
	}
}
