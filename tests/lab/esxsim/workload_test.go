package main

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newExecution(t *testing.T, disk guestDisk, host string, id byte) (*execution, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), host+".log")
	log, err := openExecutionLog(path)
	if err != nil {
		t.Fatal(err)
	}
	return &execution{id: [16]byte{id}, vm: "vm01", host: host, disk: disk, log: log, every: 5 * time.Millisecond}, path
}

// records are the extent's records in order, up to the first sector that is none.
func (g *target) records(extent uint32) (found []Record, sectors [][]byte) {
	for at := uint64(0); ; at++ {
		sector := g.sector(extentStart(extent) + firstRecord + at)
		record := decodeRecord(sector)
		if record == nil {
			return found, sectors
		}
		found, sectors = append(found, *record), append(sectors, sector)
	}
}

func TestWorkloadGoesOnWhereTheLastHostEnded(t *testing.T) {
	g := startTarget(t, 1)
	for number, host := range []string{"esx1", "esx2"} {
		e, path := newExecution(t, g.connect(host), host, byte(number+1))
		if err := e.findEnd(context.Background()); err != nil {
			t.Fatal(err)
		}
		begin := e.sequence
		e.start()
		wait(t, "records", func() bool { found, _ := g.records(0); return uint64(len(found)) > begin+600 })
		e.stop("test", time.Second)
		text, _ := os.ReadFile(path)
		acks, found := strings.Count(string(text), " ack "), 0
		if all, _ := g.records(0); true {
			found = len(all)
		}
		if uint64(acks) != uint64(found)-begin {
			t.Errorf("%s: %d acknowledged, %d written", host, acks, uint64(found)-begin)
		}
	}
	records, sectors := g.records(0)
	previous := [32]byte{}
	for number, record := range records {
		if record.Sequence != uint64(number) || record.Previous != previous {
			t.Fatalf("record %d is not chained to the one before it", number)
		}
		previous = sha256.Sum256(sectors[number])
	}
	if records[0].Host != "esx1" || records[len(records)-1].Host != "esx2" {
		t.Error("not both hosts wrote")
	}
}

func TestGuestTicksWhileItsWritesHang(t *testing.T) {
	g := startTarget(t, 1)
	session := g.connect("esx1")
	e, path := newExecution(t, session, "esx1", 1)
	e.start()
	wait(t, "records", func() bool { found, _ := g.records(0); return len(found) > 3 })
	g.fence("esx1")
	wait(t, "the loss", func() bool { return !session.Connected() })
	before, _ := g.records(0)
	ticks := func() int { text, _ := os.ReadFile(path); return strings.Count(string(text), " tick ") }
	now := ticks()
	wait(t, "ticks", func() bool { return ticks() > now+10 })
	e.stop("test", 0)
	now = ticks()
	g.admit("esx1")
	wait(t, "the next login", session.Connected)
	time.Sleep(50 * time.Millisecond)
	if after, _ := g.records(0); len(after) != len(before) {
		t.Errorf("%d records landed after the VM was killed", len(after)-len(before))
	}
	if ticks() != now {
		t.Error("the guest ticked after its end")
	}
}

func TestLapsedLockStopsNewWrites(t *testing.T) {
	g := startTarget(t, 1)
	e, _ := newExecution(t, g.connect("esx1"), "esx1", 1)
	e.start()
	defer e.stop("test", 0)
	wait(t, "records", func() bool { found, _ := g.records(0); return len(found) > 3 })
	e.lapsed.Store(true)
	time.Sleep(100 * time.Millisecond) // one may be on its way
	before, _ := g.records(0)
	time.Sleep(100 * time.Millisecond)
	if after, _ := g.records(0); len(after) != len(before) {
		t.Errorf("%d records were written without the lock", len(after)-len(before))
	}
	e.lapsed.Store(false)
	wait(t, "records again", func() bool { found, _ := g.records(0); return len(found) > len(before) })
}

func TestKeeperTellsThatTheLockWasTaken(t *testing.T) {
	g := startTarget(t, 1)
	one := newLockTable(g.connect("esx1"), [16]byte{1}, "esx1", 1, 80*time.Millisecond, hostClock)
	lock := mustAcquire(t, one, 0, 1)
	taken := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go keepLock(ctx, lock, nil, time.Second, func(bool) {}, func() { close(taken) })
	wait(t, "renewals", func() bool { return onDisk(t, g, 0).Counter > 3 })
	two := g.connect("esx2")
	theft := Lease{Owner: [16]byte{2}, Host: "esx2", Execution: [16]byte{2}, Generation: 2, Counter: 1}
	wait(t, "the keeper to notice", func() bool {
		// Again and again: on a target without COMPARE AND WRITE, a renewal that read before may write over it.
		if err := two.Write(context.Background(), extentStart(0), theft.encode()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-taken:
			return true
		default:
			return false
		}
	})
}
