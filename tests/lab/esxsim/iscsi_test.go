package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

func page(fill byte) []byte { return bytes.Repeat([]byte{fill}, sectorBytes) }

func TestSessionReadsWhatItWrote(t *testing.T) {
	g := startTarget(t, 1)
	s := g.connect("esx1")
	if err := s.Write(context.Background(), firstExtent+5, page(9)); err != nil {
		t.Fatal(err)
	}
	data, err := s.Read(context.Background(), firstExtent+5, 1)
	if err != nil || !bytes.Equal(data, page(9)) || !bytes.Equal(g.sector(firstExtent+5), page(9)) {
		t.Errorf("%v", err)
	}
	if device := s.Device(); device.Serial == "" || device.CanonicalName == "" || device.bytes() == 0 {
		t.Errorf("%+v", device)
	}
}

func TestLostSessionIsNoticedAndComesBack(t *testing.T) {
	g := startTarget(t, 1)
	s := g.connect("esx1")
	g.fence("esx1")
	wait(t, "the loss to be noticed without any I/O", func() bool { return !s.Connected() })
	if err := s.Write(context.Background(), firstExtent, page(1)); !errors.Is(err, errDisconnected) {
		t.Errorf("a write without a session: %v", err)
	}
	g.admit("esx1")
	wait(t, "the next login", s.Connected)
	if err := s.Write(context.Background(), firstExtent, page(1)); err != nil {
		t.Error(err)
	}
}

func TestGuestWriteWaitsForTheNextLogin(t *testing.T) {
	g := startTarget(t, 1)
	s := g.connect("esx1")
	g.fence("esx1")
	wait(t, "the loss", func() bool { return !s.Connected() })
	written := make(chan error, 1)
	go func() { written <- s.WriteRetained(context.Background(), firstExtent+1, page(2)) }()
	cancelled, cancel := context.WithCancel(context.Background())
	dropped := make(chan error, 1)
	go func() { dropped <- s.WriteRetained(cancelled, firstExtent+2, page(3)) }()
	time.Sleep(200 * time.Millisecond) // a few refused logins
	cancel()
	<-dropped
	if !allZero(g.sector(firstExtent + 1)) {
		t.Fatal("a write landed through a fence")
	}
	g.admit("esx1")
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g.sector(firstExtent+1), page(2)) {
		t.Error("acknowledged, but not on the LUN")
	}
	if !allZero(g.sector(firstExtent + 2)) {
		t.Error("a write that was thrown away landed")
	}
}

func TestEveryLoginCarriesTheSameISID(t *testing.T) { // a target that reinstates sessions (RFC 7143, 6.3.5) then ends the stale one
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	config := ISCSIConfig{Initiator: initiatorName("esx1"), Portal: listener.Addr().String(), Target: testTarget, LUN: 1}
	s, err := NewSession(config, time.Millisecond, time.Second, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	var seen []string
	for range 3 {
		connection, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 48)
		if _, err := io.ReadFull(connection, head); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, hex.EncodeToString(head[8:14]))
		_ = connection.Close()
	}
	if seen[0] != seen[1] || seen[0] != seen[2] {
		t.Errorf("ISIDs %v", seen)
	}
}

func TestNewInitiatorNameLogsInAnew(t *testing.T) {
	g := startTarget(t, 1)
	s := g.connect("esx1")
	g.admit("renamed")
	if err := s.Rename(initiatorName("renamed")); err != nil {
		t.Fatal(err)
	}
	wait(t, "the new name at the target", func() bool {
		return len(g.sessions("esx1")) == 0 && len(g.sessions("renamed")) == 1 && s.Connected()
	})
}

func TestTargetRestartIsSurvived(t *testing.T) {
	g := startTarget(t, 1)
	s := g.connect("esx1")
	g.kill()
	wait(t, "the loss", func() bool { return !s.Connected() })
	g.launch()
	g.admit("esx1")
	wait(t, "the next login", s.Connected)
}

func TestStrangeLunIsRefused(t *testing.T) {
	g := startTarget(t, 1)
	s := g.connect("esx1")
	if err := s.Write(context.Background(), 0, page(0)); err != nil { // no longer the lab's
		t.Fatal(err)
	}
	g.drop("esx1")
	wait(t, "the loss", func() bool { return !s.Connected() })
	time.Sleep(200 * time.Millisecond)
	if s.Connected() {
		t.Error("a LUN without the lab's mark was accepted")
	}
}
