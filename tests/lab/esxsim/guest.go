package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// guestBoot is the time from a reset until the guest does something again.
const guestBoot = 2 * time.Second

// guest is what goes on inside a running VM. Its host sees of it the heartbeat and the I/O, and nothing else.
type guest struct {
	hung    atomic.Bool  // it executes and does nothing: no I/O, no heartbeat
	noTools atomic.Bool  // VMware Tools ended in it; all else goes on
	boots   atomic.Int64 // nanoseconds on the host's clock until which it starts
	writes  atomic.Int64 // disk writes done
}

func (g *guest) starting() bool { return int64(hostClock()) < g.boots.Load() }

// idle tells that it writes nothing now.
func (g *guest) idle() bool { return g.hung.Load() || g.starting() }

// restart is what a reset does: whatever went wrong in the guest is over.
func (g *guest) restart() {
	g.hung.Store(false)
	g.noTools.Store(false)
	g.boots.Store(int64(hostClock() + guestBoot))
}

// heartbeat is what the host hears: green, red when it stopped, gray where no VMware Tools run. toolsRun says whether the
// host still takes them for running: of a guest that hangs it does.
func (m *machine) heartbeat() (status types.ManagedEntityStatus, toolsRun bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.exec == nil || m.noTools || m.exec.guest.noTools.Load() || m.exec.guest.starting():
		return types.ManagedEntityStatusGray, false
	case m.exec.guest.hung.Load():
		return types.ManagedEntityStatusRed, true
	}
	return types.ManagedEntityStatusGreen, true
}

// What the lab does to guests, the way a fault comes to one: not through the API. It writes guest-orders into the host's
// folder ("hang vm01", "tools-gone vm01" or "wake vm01", one a line), sends SIGUSR1, and finds what became of it in guest-answer.
const (
	guestOrders = "guest-orders"
	guestAnswer = "guest-answer"
)

// obeyGuestOrders carries out the lab's orders until ctx ends.
func (h *host) obeyGuestOrders(ctx context.Context) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		}
		path := filepath.Join(h.config.StateDir, guestOrders)
		orders, err := os.ReadFile(path)
		if err == nil {
			err = errors.Join(os.Remove(path), h.obey(string(orders)))
		}
		answer := "done\n"
		if err != nil {
			answer = err.Error() + "\n"
		}
		path = filepath.Join(h.config.StateDir, guestAnswer)
		if err := errors.Join(os.WriteFile(path+".new", []byte(answer), 0o644), os.Rename(path+".new", path)); err != nil {
			log.Printf("guest orders: %s", err)
		}
	}
}

func (h *host) obey(orders string) error {
	for _, line := range strings.Split(strings.TrimSpace(orders), "\n") {
		word, name, _ := strings.Cut(line, " ")
		var vm *machine
		for _, m := range h.machines() {
			if m.displayName() == name {
				vm = m
			}
		}
		if vm == nil {
			return fmt.Errorf("%s is not registered here", name)
		}
		vm.mu.Lock()
		running := vm.exec
		vm.mu.Unlock()
		if running == nil {
			return fmt.Errorf("%s does not run here", name)
		}
		switch word {
		case "hang":
			running.guest.hung.Store(true)
		case "tools-gone":
			running.guest.noTools.Store(true)
		case "wake":
			running.guest.hung.Store(false)
			running.guest.noTools.Store(false)
		default:
			return fmt.Errorf("a guest does not know %q", word)
		}
		vm.showPower()
	}
	return nil
}
