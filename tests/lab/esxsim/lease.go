package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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

// errLate: this host, or its storage, was too slow to take a lock safely.
var errLate = errors.New("taking the lock took too long")

// errTaken: a lock that this host held is another's now.
var errTaken = errors.New("the lock was taken by another host")

// sighting is when, on this host's clock, another's lease was first seen as it is.
type sighting struct {
	lease Lease
	since time.Duration
}

// takenAtOnce is how many locks a host takes at the same time; more attempts queue, so that a host that powers on hundreds of VMs at
// once does not wait for an answer longer than the target takes for a few.
const takenAtOnce = claimsPerHost / 2 // the other half of the claim sector is for claims that are left standing

// renewedAtOnce is the same for renewals: those of hundreds of locks that were taken together are due together.
const renewedAtOnce = 8

// lockTable takes, renews and releases the extents' lock leases for one host.
//
// Invariant: a lock is taken from another host only if its lease was read twice, unchanged, more than a lease time apart on this
// host's clock; and of two hosts that try at once, at most one gets it.
// With COMPARE AND WRITE (VAAI's atomic test and set) the second part holds because every change is one on what was read.
// Without it (tgt 1.0.85 has none) a host claims the extent first, then reads the lock once more and writes it, then withdraws the
// claim; claimTable's invariant lets one host at a time do so. A claim is honoured for a lease time. A host that took longer than
// that from its claim to the end of its write, because it was stopped in between, may have overwritten a good lock: it keeps off
// that lock for a lease time, in which the lock's owner sees what happened and kills its VM.
type lockTable struct {
	disk   disk
	owner  [16]byte
	host   string
	lease  time.Duration
	clock  func() time.Duration
	claims *claimTable
	turns  chan struct{} // to take a lock
	renews chan struct{} // turns to renew one
	plain  atomic.Bool   // the target has no COMPARE AND WRITE

	mu       sync.Mutex
	seen     map[uint32]sighting
	held     map[uint32]*heldLock
	taking   map[uint32]bool
	distrust map[uint32]time.Duration // until when this host keeps off a lock
}

// newLockTable makes the locks of the host with this index (from 0, no two hosts of one LUN have the same).
func newLockTable(d disk, owner [16]byte, host string, index int, lease time.Duration, clock func() time.Duration) *lockTable {
	return &lockTable{
		disk: d, owner: owner, host: host, lease: lease, clock: clock,
		turns: make(chan struct{}, takenAtOnce), renews: make(chan struct{}, renewedAtOnce),
		claims: &claimTable{
			disk: d, owner: owner, host: host, index: index, lease: lease, clock: clock,
			mine: map[uint32]claim{}, sighted: map[rivalClaim]time.Duration{},
		},
		seen: map[uint32]sighting{}, held: map[uint32]*heldLock{}, taking: map[uint32]bool{}, distrust: map[uint32]time.Duration{},
	}
}

// heldLock is a lock that this host holds, or believes to hold.
type heldLock struct {
	table  *lockTable
	extent uint32

	mu   sync.Mutex
	last Lease
}

// acquire takes an extent's lock or returns lockedError when another host has it, or another VM of this host. Aging is tracked between
// attempts, as on ESXi: it never waits for another's lock. It does wait for its turn, and when it was too slow itself until it may
// try again; timeout is for all that comes after its turn.
func (t *lockTable) acquire(timeout time.Duration, extent uint32, execution [16]byte) (*heldLock, error) {
	t.turns <- struct{}{}
	defer func() { <-t.turns }()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	t.mu.Lock()
	busy := t.held[extent] != nil || t.taking[extent]
	if !busy {
		t.taking[extent] = true
		defer func() {
			t.mu.Lock()
			delete(t.taking, extent)
			t.mu.Unlock()
		}()
	}
	t.mu.Unlock()
	if busy {
		return nil, lockedError{Lease{Owner: t.owner, Host: t.host}}
	}
	for try := 0; ; try++ {
		if err := t.trusted(ctx, extent); err != nil {
			return nil, err
		}
		lock, err := t.tryAcquire(ctx, extent, execution)
		if errors.Is(err, errMiscompare) && try < 3 || errors.Is(err, errLate) {
			continue // it changed between reading and writing, or may have: look again
		}
		return lock, err
	}
}

// trusted waits while this host has to keep off a lock. errLate: the time for that is over.
func (t *lockTable) trusted(ctx context.Context, extent uint32) error {
	for {
		t.mu.Lock()
		until := t.distrust[extent]
		t.mu.Unlock()
		if ctx.Err() != nil {
			return errLate
		}
		if t.clock() >= until {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(claimPause):
		}
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
	err := t.compareAndWrite(ctx, lba, old, lease)
	if !errors.Is(err, errUnsupported) {
		return err
	}
	begun := t.clock()
	if err = t.claims.announce(ctx, extent); err == nil {
		err = t.unchanged(ctx, lba, old)
	}
	if err == nil && t.clock()-begun > t.lease/2 {
		err = errLate // rather not write any more
	}
	if err != nil {
		t.claims.withdraw(ctx, extent)
		return err
	}
	if err = t.disk.Write(ctx, lba, lease); err != nil {
		t.keepOff(extent)
		t.claims.leave(extent) // the write may land yet
		return err
	}
	t.claims.withdraw(ctx, extent)
	if t.clock()-begun > t.lease {
		t.keepOff(extent)
		return errLate
	}
	return nil
}

func (t *lockTable) keepOff(extent uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.distrust[extent] = t.clock() + t.lease
}

// compareAndWrite is the disk's; a target that said once that it has none is not asked again.
func (t *lockTable) compareAndWrite(ctx context.Context, lba uint64, old, new []byte) error {
	if t.plain.Load() {
		return errUnsupported
	}
	err := t.disk.CompareAndWrite(ctx, lba, old, new)
	if errors.Is(err, errUnsupported) {
		t.plain.Store(true)
	}
	return err
}

// unchanged returns errMiscompare when the sector is no longer what was read.
func (t *lockTable) unchanged(ctx context.Context, lba uint64, old []byte) error {
	now, err := t.disk.Read(ctx, lba, 1)
	if err == nil && !bytes.Equal(now, old) {
		err = errMiscompare
	}
	return err
}

// replace is an atomic test and set of a sector that was just read; where the target has no COMPARE AND WRITE, a write. Only the lock's
// holder does so.
func (t *lockTable) replace(ctx context.Context, lba uint64, old, new []byte) error {
	err := t.compareAndWrite(ctx, lba, old, new)
	if !errors.Is(err, errUnsupported) {
		return err
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
	for try := 0; ; try++ {
		sector, err := l.table.disk.Read(ctx, lba, 1)
		if err != nil {
			return err
		}
		current, err := decodeLease(sector)
		if err != nil || current == nil || !current.sameHolder(l.last) {
			return err
		}
		err = l.table.replace(ctx, lba, sector, freeSector)
		if errors.Is(err, errMiscompare) && try < 3 {
			continue // the session sent the command twice, and the first one had landed
		}
		return err
	}
}

func (l *heldLock) forget() {
	l.table.mu.Lock()
	defer l.table.mu.Unlock()
	if l.table.held[l.extent] == l {
		delete(l.table.held, l.extent)
	}
}
