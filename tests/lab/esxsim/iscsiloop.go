package main

/*
#include <stdlib.h>
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include "iscsi_shim.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log"
	"strings"
	"time"
	"unsafe"
)

// Run logs in and serves until ctx ends.
func (s *Session) Run(ctx context.Context) {
	last := ""
	for ctx.Err() == nil {
		way := s.way()
		if way.Target == "" { // a host whose administrator has not configured a target yet
			s.pause(ctx)
			continue
		}
		iscsi, device, err := s.login(ctx, way)
		if err == nil && !s.bare {
			if err = device.refusal(way.LUN); err != nil {
				C.iscsi_destroy_context(iscsi)
			}
		}
		if err != nil {
			if text := err.Error(); text != last { // one line for each new reason, not one a second
				log.Printf("iscsi: login to %s at %s: %s; trying again every %s", way.Target, way.Portal, text, s.retry)
				last = text
			}
			s.pause(ctx)
			continue
		}
		last = ""
		log.Printf("iscsi: logged in to %s at %s, LUN %d is %s", way.Target, way.Portal, way.LUN, device.CanonicalName)
		s.change(true, device)
		flying, err := s.serve(ctx, iscsi, way.LUN)
		if ctx.Err() != nil {
			s.logout(iscsi)
		}
		C.iscsi_destroy_context(iscsi) // cancels what flies; libiscsi touches none of it after this
		s.takeBack(flying)
		s.change(false, device)
		log.Printf("iscsi: session with %s ended: %s", way.Target, err)
	}
}

func (s *Session) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(s.retry):
	}
}

// change tells the world; what was not retained fails.
func (s *Session) change(loggedIn bool, device *Device) {
	connected := loggedIn && device.mountable()
	s.mu.Lock()
	s.loggedIn, s.connected, s.device = loggedIn, connected, device
	var dropped, kept []*request
	if !connected {
		for _, r := range s.queue {
			if r.retained {
				kept = append(kept, r)
			} else {
				dropped = append(dropped, r)
			}
		}
		s.queue = kept
	}
	s.mu.Unlock()
	for _, r := range dropped {
		r.finish(nil, errLost)
	}
	if s.onChange != nil {
		s.onChange(connected)
	}
}

// sessionWay is how the host gets to its LUN.
type sessionWay struct {
	Initiator, Portal, Target string
	LUN                       int
	Chap                      chapSettings
}

// way is how to log in now; a change from here on means logging in anew.
func (s *Session) way() sessionWay {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renamed = false
	return sessionWay{s.initiator, s.portal, s.target, s.lun, s.chap}
}

// current is how the host logs in, without taking note of it.
func (s *Session) current() sessionWay {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sessionWay{s.initiator, s.portal, s.target, s.lun, s.chap}
}

// open makes libiscsi's context. The ISID is the initiator's, *nth* of them; a target of "" is a discovery session.
func (w sessionWay) open(nth uint32) (*C.struct_iscsi_context, error) {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(w.Initiator))
	var given [6]*C.char
	for i, text := range []string{w.Initiator, w.Target, w.Chap.User, w.Chap.Secret, w.Chap.MutualUser, w.Chap.MutualSecret} {
		given[i] = C.CString(text)
		defer C.free(unsafe.Pointer(given[i]))
	}
	chap := C.struct_shim_chap{given[2], given[3], given[4], given[5]}
	iscsi := C.shim_open(given[0], given[1], C.uint32_t(hash.Sum32()+nth), &chap)
	if iscsi == nil {
		return nil, errors.New("libiscsi refused the names of initiator or target, or the CHAP secrets")
	}
	return iscsi, nil
}

func (s *Session) login(ctx context.Context, way sessionWay) (*C.struct_iscsi_context, *Device, error) {
	iscsi, err := way.open(0)
	if err != nil {
		return nil, nil, err
	}
	portal := C.CString(way.Portal)
	defer C.free(unsafe.Pointer(portal))
	state := (*C.struct_shim_login)(C.calloc(1, C.sizeof_struct_shim_login))
	defer C.free(unsafe.Pointer(state))
	fail := func(err error) (*C.struct_iscsi_context, *Device, error) {
		if text := strings.TrimSpace(C.GoString(C.iscsi_get_error(iscsi))); text != "" {
			err = fmt.Errorf("%w (%s)", err, text)
		}
		C.iscsi_destroy_context(iscsi) // ends the pending login, whose state is freed after this
		return nil, nil, err
	}
	if C.shim_connect(iscsi, portal, C.int(way.LUN), state) != 0 {
		return fail(errors.New("cannot connect"))
	}
	if err := s.turnUntil(ctx, iscsi, func() bool { return state.done != 0 }); err != nil {
		return fail(err)
	}
	if state.status != C.SCSI_STATUS_GOOD {
		return fail(errors.New("refused"))
	}
	device, err := s.identify(ctx, iscsi, way.LUN)
	if err != nil {
		return fail(err)
	}
	return iscsi, device, nil
}

// turnUntil turns the wheel until done, at most for the command timeout. The time counts only while this process runs.
func (s *Session) turnUntil(ctx context.Context, iscsi *C.struct_iscsi_context, done func() bool) error {
	var age time.Duration
	for last := time.Now(); !done(); {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if C.shim_turn(iscsi, C.int(s.wake), 50) != 0 {
			if done() {
				return nil
			}
			return errLost
		}
		now := time.Now()
		age += ran(now.Sub(last))
		last = now
		if age > s.timeout && !done() {
			return fmt.Errorf("no answer within %s", s.timeout)
		}
	}
	return nil
}

// ran is the part of a turn's duration in which this process executed: a process that was stopped for a minute did not wait for a minute.
func ran(elapsed time.Duration) time.Duration { return min(elapsed, 250*time.Millisecond) }

// serve sends what is queued and hands out answers until the session is lost. It returns what was at the target then, and why.
func (s *Session) serve(ctx context.Context, iscsi *C.struct_iscsi_context, lun int) (flying []*request, reason error) {
	last := time.Now()
	for {
		if ctx.Err() != nil {
			return flying, ctx.Err()
		}
		s.mu.Lock()
		queued, renamed := s.queue, s.renamed
		s.queue = nil
		s.mu.Unlock()
		for _, r := range queued {
			if r.ctx.Err() != nil {
				r.finish(nil, r.ctx.Err())
				continue
			}
			if C.shim_submit(iscsi, C.int(lun), r.command) != 0 {
				r.finish(nil, errors.New("libiscsi refused the command: "+C.GoString(C.iscsi_get_error(iscsi))))
				continue
			}
			flying = append(flying, r)
		}
		if renamed {
			return flying, errors.New("the adapter's configuration was changed")
		}
		if C.shim_turn(iscsi, C.int(s.wake), 100) != 0 {
			return flying, errLost
		}
		now := time.Now()
		elapsed := ran(now.Sub(last))
		last = now
		var err error
		if flying, err = s.collect(flying, elapsed); err != nil {
			return flying, err
		}
	}
}

// collect hands out the answers that came and returns what is still at the target.
func (s *Session) collect(flying []*request, elapsed time.Duration) ([]*request, error) {
	var lost error
	rest := flying[:0]
	for _, r := range flying {
		if r.command.done == 0 {
			if r.age += elapsed; r.age > s.timeout {
				lost = fmt.Errorf("a command was not answered within %s", s.timeout)
			}
			rest = append(rest, r)
			continue
		}
		err := verdict(r.command)
		switch {
		case err == nil:
			r.finish(C.GoBytes(unsafe.Pointer(r.command.data), C.int(r.command.received)), nil)
		case errors.Is(err, errLost), isGone(err):
			lost = err
			rest = append(rest, r)
		case isTransient(err) && r.tries < 8:
			r.tries++
			r.reset()
			s.mu.Lock()
			s.queue = append(s.queue, r)
			s.mu.Unlock()
		default:
			r.finish(nil, err)
		}
	}
	return rest, lost
}

// takeBack returns what was at the target when the session ended to the queue, or fails it.
func (s *Session) takeBack(flying []*request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var again []*request
	for _, r := range flying {
		if r.command.task != nil {
			C.scsi_free_scsi_task(r.command.task)
		}
		r.reset()
		if r.retained && r.ctx.Err() == nil {
			again = append(again, r)
		} else {
			r.finish(nil, errLost)
		}
	}
	s.queue = append(again, s.queue...)
}

func (r *request) reset() {
	c := r.command
	c.task, c.done, c.status, c.sense_key, c.sense_code, c.received = nil, 0, 0, 0, 0, 0
	r.age = 0
}

func (s *Session) logout(iscsi *C.struct_iscsi_context) {
	if C.iscsi_is_logged_in(iscsi) == 0 {
		return
	}
	state := (*C.struct_shim_login)(C.calloc(1, C.sizeof_struct_shim_login))
	if C.shim_logout(iscsi, state) == 0 {
		_ = s.turnUntil(context.Background(), iscsi, func() bool { return state.done != 0 })
	}
}
