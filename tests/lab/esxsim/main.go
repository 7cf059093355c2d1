// Esxsim is one standalone ESXi host for the quick lab: README.md beside this file says what of it is real.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	path := flag.String("config", "", "the host's configuration (tests/lab/README.md)")
	flag.Parse()
	if *path == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: esxsim --config FILE")
		os.Exit(2)
	}
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	if err := run(*path); err != nil {
		log.Fatalf("esxsim: %s", err)
	}
}

func run(path string) error {
	config, err := loadConfig(path)
	if err != nil {
		return err
	}
	bootTimeOffset = config.BootTimeOffsetNS
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	h, err := newHost(config)
	if err != nil {
		return err
	}
	server, err := listen(h)
	if err != nil {
		return err
	}
	halt := h.boot()
	fmt.Println("ready")
	reboot := false
	select {
	case <-ctx.Done():
		log.Printf("signal: ending; running VMs are lost")
	case reboot = <-h.shutdown:
	}
	_ = server.Close()
	halt()
	if reboot {
		log.Printf("rebooting")
		return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	if ctx.Err() == nil {
		fmt.Println("off") // by its own shutdown: whoever runs it takes the power away
	}
	return nil
}
