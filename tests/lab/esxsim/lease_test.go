package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"
)

// handClock is a host's clock, moved by the test.
type handClock struct{ now time.Duration }

func (c *handClock) read() time.Duration { return c.now }

func lockHost(t *testing.T, g *target, name string, number byte) (*lockTable, *handClock) {
	t.Helper()
	return lockHostOn(g.connect(name), name, number)
}

func lockHostOn(d disk, name string, number byte) (*lockTable, *handClock) {
	clock := &handClock{}
	return newLockTable(d, [16]byte{number}, name, int(number), 16*time.Second, clock.read), clock
}

func mustAcquire(t *testing.T, table *lockTable, extent uint32, execution byte) *heldLock {
	t.Helper()
	lock, err := table.acquire(10*time.Second, extent, [16]byte{execution})
	if err != nil {
		t.Fatalf("%s could not take the lock: %s", table.host, err)
	}
	return lock
}

func mustBeLocked(t *testing.T, table *lockTable, extent uint32) {
	t.Helper()
	_, err := table.acquire(10*time.Second, extent, [16]byte{99})
	var locked lockedError
	if !errors.As(err, &locked) {
		t.Fatalf("expected a lock held by another, got %v", err)
	}
}

func onDisk(t *testing.T, g *target, extent uint32) *Lease {
	t.Helper()
	lease, err := decodeLease(g.sector(extentStart(extent)))
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

func TestFreeLockIsTakenAndFreedAgain(t *testing.T) {
	g := startTarget(t, 2)
	one, _ := lockHost(t, g, "esx1", 1)
	lock := mustAcquire(t, one, 1, 7)
	if lease := onDisk(t, g, 1); lease == nil || lease.Owner != [16]byte{1} || lease.Host != "esx1" || lease.Execution != [16]byte{7} {
		t.Fatalf("on disk: %+v", lease)
	}
	mustBeLocked(t, one, 1) // a second VM with this disk, on the same host
	if err := lock.release(context.Background()); err != nil {
		t.Fatal(err)
	}
	if onDisk(t, g, 1) != nil {
		t.Error("not freed")
	}
}

func TestLivingLockIsNeverTaken(t *testing.T) {
	g := startTarget(t, 1)
	one, _ := lockHost(t, g, "esx1", 1)
	two, clock := lockHost(t, g, "esx2", 2)
	lock := mustAcquire(t, one, 0, 1)
	for range 5 {
		mustBeLocked(t, two, 0)
		clock.now += 17 * time.Second
		if err := lock.renew(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	mustBeLocked(t, two, 0)
}

func TestDeadLockIsTakenOnlyAfterALeaseTime(t *testing.T) {
	g := startTarget(t, 1)
	one, _ := lockHost(t, g, "esx1", 1)
	two, clock := lockHost(t, g, "esx2", 2)
	old := mustAcquire(t, one, 0, 1)
	mustBeLocked(t, two, 0)
	clock.now += 16 * time.Second
	mustBeLocked(t, two, 0) // not more than a lease time
	clock.now += time.Second
	mustAcquire(t, two, 0, 2)
	if lease := onDisk(t, g, 0); lease.Generation != 2 || lease.Host != "esx2" {
		t.Errorf("on disk: %+v", lease)
	}
	if err := old.renew(context.Background()); !errors.Is(err, errTaken) {
		t.Errorf("the old owner must learn that its lock was taken, got %v", err)
	}
	if err := old.release(context.Background()); err != nil {
		t.Error(err)
	}
	if onDisk(t, g, 0) == nil {
		t.Error("the old owner freed a lock that is another's")
	}
}

func TestLockOfAnEarlierLifeIsTakenAtOnce(t *testing.T) {
	g := startTarget(t, 1)
	session := g.connect("esx1")
	clock := &handClock{}
	mustAcquire(t, newLockTable(session, [16]byte{1}, "esx1", 1, 16*time.Second, clock.read), 0, 1)
	mustAcquire(t, newLockTable(session, [16]byte{1}, "esx1", 1, 16*time.Second, clock.read), 0, 2)
	if lease := onDisk(t, g, 0); lease.Generation != 2 || lease.Execution != [16]byte{2} {
		t.Errorf("on disk: %+v", lease)
	}
}

func TestOfTwoHostsThatTakeADeadLockOneGetsIt(t *testing.T) {
	g := startTarget(t, 8)
	dead, _ := lockHost(t, g, "esx1", 1)
	two, clockTwo := lockHost(t, g, "esx2", 2)
	three, clockThree := lockHost(t, g, "esx3", 3)
	for extent := range uint32(8) {
		mustAcquire(t, dead, extent, 1)
		mustBeLocked(t, two, extent)
		mustBeLocked(t, three, extent)
	}
	clockTwo.now, clockThree.now = time.Minute, time.Minute
	for extent := range uint32(8) {
		var got [2]error
		var both sync.WaitGroup
		for i, table := range []*lockTable{two, three} {
			both.Add(1)
			go func() {
				defer both.Done()
				_, got[i] = table.acquire(10*time.Second, extent, [16]byte{byte(10 + i)})
			}()
		}
		both.Wait()
		if (got[0] == nil) == (got[1] == nil) {
			t.Fatalf("extent %d: esx2 %v, esx3 %v", extent, got[0], got[1])
		}
	}
}

func TestForeignSectorIsNoFreeLock(t *testing.T) {
	g := startTarget(t, 1)
	one, _ := lockHost(t, g, "esx1", 1)
	file, err := os.OpenFile(g.image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = file.WriteAt([]byte("somebody's data"), int64(extentStart(0))*sectorBytes)
	_ = file.Close()
	if _, err := one.acquire(10*time.Second, 0, [16]byte{1}); err == nil {
		t.Fatal("taken")
	}
	if !bytes.HasPrefix(g.sector(extentStart(0)), []byte("somebody's data")) {
		t.Error("overwritten")
	}
}

func TestCompareAndWriteIsAtomicAtTheTarget(t *testing.T) {
	g := startTarget(t, 1)
	session := g.connect("esx1")
	other := bytes.Repeat([]byte{5}, sectorBytes)
	err := session.CompareAndWrite(context.Background(), firstExtent, freeSector, other)
	if errors.Is(err, errUnsupported) {
		t.Skip("this target has no COMPARE AND WRITE; locks are taken by reading, writing, waiting and reading again")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := session.CompareAndWrite(context.Background(), firstExtent, freeSector, other); !errors.Is(err, errMiscompare) {
		t.Errorf("expected a miscompare, got %v", err)
	}
}
