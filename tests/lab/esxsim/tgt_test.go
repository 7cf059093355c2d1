package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const testTarget = "iqn.2026-01.lab.libreha:unit"

// target is a real tgtd with one LUN, in the foreground, with a control port of its own.
type target struct {
	t       testing.TB
	control string
	portal  string
	image   string
	daemon  *exec.Cmd
}

func startTarget(t testing.TB, extents int) *target {
	t.Helper()
	if _, err := exec.LookPath("tgtd"); err != nil || os.Geteuid() != 0 {
		t.Fatal("this test needs a real tgtd: install the Debian package tgt, and run as root")
	}
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := probe.Addr().(*net.TCPAddr).Port
	_ = probe.Close()
	g := &target{
		t: t, control: strconv.Itoa(2000 + (os.Getpid()*7+port)%20000), portal: fmt.Sprintf("127.0.0.1:%d", port),
		image: filepath.Join(t.TempDir(), "lun.img"),
	}
	image, err := os.Create(g.image)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = image.Write(lunMagic)
	if err := image.Truncate(int64(extentStart(uint32(extents))) * sectorBytes); err != nil {
		t.Fatal(err)
	}
	_ = image.Close()
	g.launch()
	t.Cleanup(g.kill)
	return g
}

func (g *target) launch() {
	g.t.Helper()
	g.daemon = exec.Command("tgtd", "-f", "-C", g.control, "--iscsi", "portal="+g.portal)
	g.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := g.daemon.Start(); err != nil {
		g.t.Fatal(err)
	}
	for try := 0; ; try++ {
		if _, err := g.try("--op", "show", "--mode", "sys"); err == nil {
			break
		}
		if try == 100 {
			g.t.Fatal("tgtd does not answer")
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.admin("--op", "new", "--mode", "target", "--tid", "1", "-T", testTarget)
	g.admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", g.image)
	g.admin("--op", "bind", "--mode", "target", "--tid", "1", "-Q", "iqn.2026-01.lab.libreha:nobody")
}

func (g *target) kill() {
	_ = g.daemon.Process.Kill()
	_ = g.daemon.Wait()
}

func (g *target) try(arguments ...string) (string, error) {
	out, err := exec.Command("tgtadm", append([]string{"-C", g.control, "--lld", "iscsi"}, arguments...)...).CombinedOutput()
	return string(out), err
}

func (g *target) admin(arguments ...string) string {
	g.t.Helper()
	out, err := g.try(arguments...)
	if err != nil {
		g.t.Fatalf("tgtadm %s: %s\n%s", strings.Join(arguments, " "), err, out)
	}
	return out
}

func initiatorName(host string) string { return "iqn.2026-01.lab.libreha:" + host }

func (g *target) admit(host string) {
	g.t.Helper()
	g.admin("--op", "bind", "--mode", "target", "--tid", "1", "-Q", initiatorName(host))
}

var nexus = regexp.MustCompile(`I_T nexus: (\d+)\s+Initiator: (\S+)`)

// sessions are the ids of a host's sessions at the target.
func (g *target) sessions(host string) (ids []string) {
	g.t.Helper()
	for _, match := range nexus.FindAllStringSubmatch(g.admin("--op", "show", "--mode", "target"), -1) {
		if match[2] == initiatorName(host) {
			ids = append(ids, match[1])
		}
	}
	return ids
}

func (g *target) drop(host string) {
	g.t.Helper()
	for _, id := range g.sessions(host) {
		g.admin("--op", "delete", "--mode", "conn", "--tid", "1", "--sid", id, "--cid", "0")
	}
}

// fence is what a storage fence does: the right is taken, then the session ended.
func (g *target) fence(host string) {
	g.t.Helper()
	g.admin("--op", "unbind", "--mode", "target", "--tid", "1", "-Q", initiatorName(host))
	g.drop(host)
}

// sector reads the backing file, not the session.
func (g *target) sector(lba uint64) []byte {
	g.t.Helper()
	file, err := os.Open(g.image)
	if err != nil {
		g.t.Fatal(err)
	}
	defer file.Close()
	sector := make([]byte, sectorBytes)
	if _, err := file.ReadAt(sector, int64(lba)*sectorBytes); err != nil {
		g.t.Fatal(err)
	}
	return sector
}

// connect admits a host and logs it in; the session lives until the test ends.
func (g *target) connect(host string) *Session {
	g.t.Helper()
	g.admit(host)
	s := g.session(host)
	wait(g.t, "login of "+host, s.Connected)
	return s
}

func (g *target) session(host string) *Session {
	g.t.Helper()
	config := ISCSIConfig{Initiator: initiatorName(host), Portal: g.portal, Target: testTarget, LUN: 1}
	s, err := NewSession(config, 50*time.Millisecond, 2*time.Second, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	g.t.Cleanup(func() { cancel(); <-ended })
	return s
}

// wait is a hang guard, not a measure.
func wait(t testing.TB, what string, done func() bool) {
	t.Helper()
	for try := 0; !done(); try++ {
		if try == 1500 {
			t.Fatalf("waited 15 s in vain for: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
