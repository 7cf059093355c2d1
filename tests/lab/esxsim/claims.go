package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	claimTries = 50                    // how often a host looks whether a rival's claim is gone,
	claimPause = 20 * time.Millisecond // and how long it waits in between
	tornTries  = 5
)

// claimTable is the mutual exclusion between hosts that want to take a lock at a target without COMPARE AND WRITE. It needs reads
// and writes only. Each host has one sector, which only it writes, and lists there the extents whose locks it is about to take.
//
// Invariant: of two hosts that claim one extent, at most one is told to go on while both claims stand. Both write first and read
// afterwards. So whichever claim landed second, its host reads the other one (the flag principle: Herlihy and Shavit, The Art of
// Multiprocessor Programming, 2.3). No time limit takes part in this, so a slow target only makes it slower.
//
// The host with the lower index has precedence: it waits for the other one to withdraw, which the other one does at once.
// A claim that stood unchanged for more than a lease time is a dead host's; who made it must by then have stopped using it.
type claimTable struct {
	disk  disk
	owner [16]byte
	host  string
	index int
	lease time.Duration
	clock func() time.Duration

	writing   sync.Mutex // held while the sector is written
	published uint64     // the change that the sector on the LUN contains

	mu      sync.Mutex
	change  uint64
	mine    map[uint32]claim
	sighted map[rivalClaim]time.Duration // when, on this host's clock, another's claim was seen first
}

type claim struct {
	nonce  uint64 // tells a new claim from the last one for the same extent
	leftAt time.Duration
	left   bool // nobody uses it any more, but what it protected may still land: it stands for a lease time
}

// claimsOnDisk are a host's claims as they lie on the LUN: extents, each with its nonce.
type claimsOnDisk struct {
	owner  [16]byte
	host   string
	nonces map[uint32]uint64
}

type rivalClaim struct {
	index  int
	extent uint32
	nonce  uint64
}

// announce claims an extent. It returns nil when no other host may take its lock until withdraw, and lockedError when another
// host has claimed it first.
func (c *claimTable) announce(ctx context.Context, extent uint32) error {
	if err := c.publish(ctx, func() { c.mine[extent] = claim{nonce: rand.Uint64()} }); err != nil {
		return err
	}
	for try := 0; ; try++ {
		index, rival, err := c.rival(ctx, extent)
		if err != nil || rival == nil {
			return err
		}
		if index < c.index || try == claimTries {
			return lockedError{Lease{Owner: rival.owner, Host: rival.host}}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(claimPause):
		}
	}
}

// withdraw ends a claim. When that cannot be written the claim ages, as a dead host's does.
func (c *claimTable) withdraw(ctx context.Context, extent uint32) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.lease) // also when the time for taking the lock is over
	defer cancel()
	_ = c.publish(ctx, func() { delete(c.mine, extent) })
}

// leave lets a claim stand for a lease time: what was written under it may land as late as that.
func (c *claimTable) leave(extent uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mine, known := c.mine[extent]; known {
		mine.left, mine.leftAt = true, c.clock()
		c.mine[extent] = mine
	}
}

// publish makes a change of this host's claims and returns when the LUN has it. Changes that wait for one another are one write.
func (c *claimTable) publish(ctx context.Context, change func()) error {
	c.mu.Lock()
	change()
	c.change++
	wanted := c.change
	c.mu.Unlock()

	c.writing.Lock()
	defer c.writing.Unlock()
	if c.published >= wanted {
		return nil
	}
	c.mu.Lock()
	current := c.change
	for extent, mine := range c.mine {
		if mine.left && c.clock()-mine.leftAt > c.lease {
			delete(c.mine, extent)
		}
	}
	sector, err := encodeClaims(c.owner, c.host, c.mine)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if err := c.disk.Write(ctx, claimSector+uint64(c.index), sector); err != nil {
		return err
	}
	c.published = current
	return nil
}

// rival is the host with the lowest index that has a living claim to the extent besides this one; nil when there is none.
func (c *claimTable) rival(ctx context.Context, extent uint32) (int, *claimsOnDisk, error) {
	hosts, err := c.read(ctx)
	if err != nil {
		return 0, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := map[rivalClaim]time.Duration{}
	found := -1
	for index := len(hosts) - 1; index >= 0; index-- {
		if hosts[index] == nil || index == c.index {
			continue
		}
		nonce, claimed := hosts[index].nonces[extent]
		if !claimed {
			continue
		}
		which := rivalClaim{index, extent, nonce}
		since, known := c.sighted[which]
		if !known {
			since = c.clock()
		}
		seen[which] = since
		if c.clock()-since <= c.lease {
			found = index
		}
	}
	for which := range c.sighted { // those of this extent that are gone
		if which.extent == extent {
			delete(c.sighted, which)
		}
	}
	for which, since := range seen {
		c.sighted[which] = since
	}
	if found < 0 {
		return 0, nil, nil
	}
	return found, hosts[found], nil
}

// read reads all hosts' claims. A sector that is just being written may look torn: it is read again.
func (c *claimTable) read(ctx context.Context) ([]*claimsOnDisk, error) {
	for try := 0; ; try++ {
		raw, err := c.disk.Read(ctx, claimSector, claimSectors)
		if err != nil {
			return nil, err
		}
		hosts := make([]*claimsOnDisk, claimSectors)
		for index := range hosts {
			if hosts[index], err = decodeClaims(raw[index*sectorBytes : (index+1)*sectorBytes]); err != nil {
				err = fmt.Errorf("claim sector of host index %d: %w", index, err)
				break
			}
		}
		if err == nil && (hosts[c.index] == nil || hosts[c.index].owner != c.owner) {
			return nil, fmt.Errorf("host index %d is used by another host too: its claims are not those that were written", c.index)
		}
		if err == nil || try == tornTries {
			return hosts, err
		}
	}
}

func encodeClaims(owner [16]byte, host string, claims map[uint32]claim) ([]byte, error) {
	if len(claims) > claimsPerHost {
		return nil, errors.New("this host claims more locks at once than its claim sector holds")
	}
	sector := make([]byte, sectorBytes)
	copy(sector[0:], claimMagic)
	copy(sector[8:], owner[:])
	copy(sector[24:], padded(host))
	binary.LittleEndian.PutUint32(sector[56:], uint32(len(claims)))
	at := claimsHead
	for extent, one := range claims {
		binary.LittleEndian.PutUint32(sector[at:], extent)
		binary.LittleEndian.PutUint64(sector[at+4:], one.nonce)
		at += claimBytes
	}
	sum := sha256.Sum256(sector[:signedBytes])
	copy(sector[signedBytes:], sum[:])
	return sector, nil
}

// decodeClaims returns nil for a sector that no host has written yet.
func decodeClaims(sector []byte) (*claimsOnDisk, error) {
	if bytes.Equal(sector, freeSector) {
		return nil, nil
	}
	sum := sha256.Sum256(sector[:signedBytes])
	if !bytes.HasPrefix(sector, claimMagic) || !bytes.Equal(sum[:], sector[signedBytes:]) {
		return nil, errors.New("it holds something that is not a host's claims")
	}
	found := &claimsOnDisk{host: unpadded(sector[24:56]), nonces: map[uint32]uint64{}}
	copy(found.owner[:], sector[8:24])
	for number := range min(int(binary.LittleEndian.Uint32(sector[56:])), claimsPerHost) {
		at := claimsHead + number*claimBytes
		found.nonces[binary.LittleEndian.Uint32(sector[at:])] = binary.LittleEndian.Uint64(sector[at+4:])
	}
	return found, nil
}
