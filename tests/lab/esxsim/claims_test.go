package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// plainDisk is a target without COMPARE AND WRITE; before runs in front of each read (nil data) and each write.
type plainDisk struct {
	*Session
	before func(lba uint64, data []byte)
}

func (d plainDisk) CompareAndWrite(context.Context, uint64, []byte, []byte) error {
	return errUnsupported
}

func (d plainDisk) Read(ctx context.Context, lba uint64, sectors int) ([]byte, error) {
	d.before(lba, nil)
	return d.Session.Read(ctx, lba, sectors)
}

func (d plainDisk) Write(ctx context.Context, lba uint64, data []byte) error {
	d.before(lba, data)
	return d.Session.Write(ctx, lba, data)
}

// leaseWrite says whether a write puts a lease into the extent's first sector.
func leaseWrite(extent uint32, lba uint64, data []byte) bool {
	return lba == extentStart(extent) && bytes.HasPrefix(data, leaseMagic)
}

func mustBeLate(t *testing.T, table *lockTable, extent uint32) {
	t.Helper()
	if _, err := table.acquire(300*time.Millisecond, extent, [16]byte{99}); !errors.Is(err, errLate) {
		t.Fatalf("expected that the host keeps off the lock, got %v", err)
	}
}

func TestSlowTargetIsNoLock(t *testing.T) {
	g := startTarget(t, 1)
	slow := plainDisk{g.connect("esx1"), func(uint64, []byte) { time.Sleep(400 * time.Millisecond) }}
	one := newLockTable(slow, [16]byte{1}, "esx1", 1, 16*time.Second, hostClock)
	mustAcquire(t, one, 0, 1)
}

func TestHostThatPowersOnManyVMsTakesAllTheirLocks(t *testing.T) {
	const extents = 200
	g := startTarget(t, extents)
	var line sync.Mutex // one answer at a time, 1 ms each
	slow := plainDisk{g.connect("esx1"), func(uint64, []byte) { line.Lock(); time.Sleep(time.Millisecond); line.Unlock() }}
	one := newLockTable(slow, [16]byte{1}, "esx1", 1, 16*time.Second, hostClock)
	failed := make(chan error, extents)
	for extent := range uint32(extents) {
		go func() {
			_, err := one.acquire(2*time.Second, extent, [16]byte{byte(extent)})
			failed <- err
		}()
	}
	for range extents {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
}

func TestHostThatHasClaimedALockGetsIt(t *testing.T) {
	for _, first := range []byte{1, 2} { // whichever index it has
		g := startTarget(t, 1)
		claimed, write := make(chan struct{}), make(chan struct{})
		hold := func(lba uint64, data []byte) {
			if leaseWrite(0, lba, data) {
				close(claimed)
				<-write
			}
		}
		one, _ := lockHostOn(plainDisk{g.connect("first"), hold}, "first", first)
		two, _ := lockHostOn(plainDisk{g.connect("second"), func(uint64, []byte) {}}, "second", 3-first)
		won := make(chan error, 1)
		go func() {
			_, err := one.acquire(10*time.Second, 0, [16]byte{1})
			won <- err
		}()
		<-claimed
		mustBeLocked(t, two, 0)
		close(write)
		if err := <-won; err != nil {
			t.Fatal(err)
		}
		if lease := onDisk(t, g, 0); lease.Host != "first" {
			t.Errorf("on disk: %+v", lease)
		}
	}
}

func TestOfTwoHostsThatClaimAtOnceTheLowerIndexGetsTheLock(t *testing.T) {
	g := startTarget(t, 1)
	var both sync.WaitGroup
	both.Add(2)
	var once [3]sync.Once
	meet := func(number byte) func(uint64, []byte) { // nobody reads the claims before both have written theirs
		return func(lba uint64, data []byte) {
			if lba == claimSector && data == nil {
				once[number].Do(func() { both.Done(); both.Wait() })
			}
		}
	}
	one, _ := lockHostOn(plainDisk{g.connect("esx1"), meet(1)}, "esx1", 1)
	two, _ := lockHostOn(plainDisk{g.connect("esx2"), meet(2)}, "esx2", 2)
	first := make(chan error, 1)
	go func() {
		_, err := one.acquire(10*time.Second, 0, [16]byte{1})
		first <- err
	}()
	mustBeLocked(t, two, 0)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
}

func TestManyHostsThatTakeManyLocksGetEachOnce(t *testing.T) {
	const hosts, extents = 4, 24
	g := startTarget(t, extents)
	jitter := func(uint64, []byte) { time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond) }
	got := make(chan uint32, hosts*extents)
	var all sync.WaitGroup
	for number := range byte(hosts) {
		name := string(rune('a' + number))
		table := newLockTable(plainDisk{g.connect(name), jitter}, [16]byte{number + 1}, name, int(number), 16*time.Second, hostClock)
		for extent := range uint32(extents) {
			all.Add(1)
			go func() {
				defer all.Done()
				_, err := table.acquire(10*time.Second, extent, [16]byte{number})
				var locked lockedError
				if err == nil {
					got <- extent
				} else if !errors.As(err, &locked) && !errors.Is(err, errMiscompare) {
					t.Error(err)
				}
			}()
		}
	}
	all.Wait()
	close(got)
	times := map[uint32]int{}
	for extent := range got {
		times[extent]++
	}
	for extent := range uint32(extents) {
		if times[extent] != 1 {
			t.Errorf("lock %d was taken %d times", extent, times[extent])
		}
	}
}

func TestDeadHostsClaimAges(t *testing.T) {
	g := startTarget(t, 1)
	dead, _ := lockHost(t, g, "esx1", 1)
	if err := dead.claims.announce(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	two, clock := lockHost(t, g, "esx2", 2)
	mustBeLocked(t, two, 0)
	clock.now += 16 * time.Second
	mustBeLocked(t, two, 0) // not more than a lease time
	clock.now += time.Second
	mustAcquire(t, two, 0, 2)
}

func TestHostThatClaimsAgainAndAgainIsNotDead(t *testing.T) {
	g := startTarget(t, 1)
	one, _ := lockHost(t, g, "esx1", 1)
	two, clock := lockHost(t, g, "esx2", 2)
	for range 3 {
		if err := one.claims.announce(context.Background(), 0); err != nil {
			t.Fatal(err)
		}
		mustBeLocked(t, two, 0)
		clock.now += 17 * time.Second
		one.claims.withdraw(context.Background(), 0)
	}
}

func TestClaimOfAWriteThatMayLandYetStandsForALeaseTime(t *testing.T) {
	g := startTarget(t, 1)
	session := g.connect("esx1")
	lost := plainDisk{session, func(lba uint64, data []byte) {
		if leaseWrite(0, lba, data) {
			g.fence("esx1")
			wait(t, "the loss", func() bool { return !session.Connected() })
		}
	}}
	one, clockOne := lockHostOn(lost, "esx1", 1)
	two, _ := lockHost(t, g, "esx2", 2)
	if _, err := one.acquire(10*time.Second, 0, [16]byte{1}); !errors.Is(err, errDisconnected) {
		t.Fatalf("a write without a session: %v", err)
	}
	mustBeLocked(t, two, 0)
	g.admit("esx1")
	wait(t, "the next login", session.Connected)
	one.disk = session
	mustBeLate(t, one, 0)
	clockOne.now += 17 * time.Second
	mustAcquire(t, one, 0, 1)
	mustBeLocked(t, two, 0)
}

func TestHostThatWasStoppedBeforeItsWriteKeepsOff(t *testing.T) {
	g := startTarget(t, 1)
	clock := &handClock{}
	session := g.connect("esx1")
	frozen := plainDisk{session, func(lba uint64, data []byte) {
		if leaseWrite(0, lba, data) {
			clock.now += 17 * time.Second
		}
	}}
	one := newLockTable(frozen, [16]byte{1}, "esx1", 1, 16*time.Second, clock.read)
	mustBeLate(t, one, 0)
	one.disk = session
	clock.now += 15 * time.Second
	mustBeLate(t, one, 0) // although the lease on disk is its own
	clock.now += 2 * time.Second
	mustAcquire(t, one, 0, 1)
}

func TestHostThatWasStoppedBetweenItsClaimAndItsWriteLooksAgain(t *testing.T) {
	g := startTarget(t, 1)
	clock := &handClock{}
	stopped := false
	writes := 0
	one := newLockTable(plainDisk{g.connect("esx1"), func(lba uint64, data []byte) {
		if lba == claimSector && data == nil && !stopped {
			stopped = true
			clock.now += 17 * time.Second
		}
		if leaseWrite(0, lba, data) {
			writes++
		}
	}}, [16]byte{1}, "esx1", 1, 16*time.Second, clock.read)
	mustAcquire(t, one, 0, 1)
	if !stopped || writes != 1 {
		t.Errorf("stopped %v, %d writes of a lease", stopped, writes)
	}
}

func TestTwoHostsWithOneIndexTakeNothing(t *testing.T) {
	g := startTarget(t, 1)
	two, _ := lockHost(t, g, "esx2", 1)
	other := g.connect("esx1")
	two.claims.disk = plainDisk{two.disk.(*Session), func(lba uint64, data []byte) {
		if lba == claimSector && data == nil { // the other one has written since
			sector, _ := encodeClaims([16]byte{9}, "esx1", nil)
			if err := other.Write(context.Background(), claimSector+1, sector); err != nil {
				t.Error(err)
			}
		}
	}}
	_, err := two.acquire(10*time.Second, 0, [16]byte{2})
	var locked lockedError
	if err == nil || errors.As(err, &locked) {
		t.Errorf("got %v", err)
	}
	if onDisk(t, g, 0) != nil {
		t.Error("taken")
	}
}

// atomicDisk is a target with COMPARE AND WRITE. When it loses an answer the session sends the command again, as it does after BUSY or
// TASK ABORTED, and the second one finds the first one's work.
type atomicDisk struct {
	*Session
	lose bool
}

func (d *atomicDisk) CompareAndWrite(ctx context.Context, lba uint64, old, new []byte) error {
	now, err := d.Read(ctx, lba, 1)
	if err == nil && !bytes.Equal(now, old) {
		err = errMiscompare
	}
	if err == nil {
		err = d.Write(ctx, lba, new)
	}
	if err == nil && d.lose {
		d.lose = false
		err = errMiscompare
	}
	return err
}

func TestMiscompareWithItsOwnFirstTryIsNoLock(t *testing.T) {
	g := startTarget(t, 1)
	target := &atomicDisk{Session: g.connect("esx1"), lose: true}
	one, _ := lockHostOn(target, "esx1", 1)
	lock := mustAcquire(t, one, 0, 1)
	target.lose = true
	if err := lock.renew(context.Background()); err != nil {
		t.Errorf("renewal: %s", err)
	}
	target.lose = true
	if err := lock.release(context.Background()); err != nil || onDisk(t, g, 0) != nil {
		t.Errorf("release: %v", err)
	}
}
