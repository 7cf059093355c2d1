package main

import (
	"crypto/subtle"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// listen serves the host's API over TLS at /sdk. Nothing else of the simulator's HTTP endpoints is offered.
func listen(h *host) (*http.Server, error) {
	certificate, err := tls.LoadX509KeyPair(h.config.Certificate, h.config.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	address := net.JoinHostPort(h.config.Address, strconv.Itoa(h.config.Port))
	h.service.Listen = &url.URL{
		Scheme: "https", Host: address, Path: h.registry.Path, User: url.UserPassword(h.config.Username, h.config.Password),
	}
	h.service.RegisterSDK(h.registry, h.registry.Path+"/vimService")
	h.registry.SessionManager().ServiceHostName = address
	h.registry.SessionManager().ValidLogin = h.validLogin
	mux := http.NewServeMux()
	mux.HandleFunc(h.registry.Path, h.service.ServeSDK)
	mux.HandleFunc(h.registry.Path+"/vimService", h.service.ServeSDK)
	mux.HandleFunc(h.registry.Path+"/vimServiceVersions.xml", h.service.ServiceVersions)

	if h.config.Listen != "" {
		address = net.JoinHostPort(h.config.Listen, strconv.Itoa(h.config.Port))
	}
	var listener net.Listener
	for try := 0; ; try++ { // after a reboot or a crash the old socket may linger for a moment
		if listener, err = net.Listen("tcp", address); err == nil || try == 20 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Handler: mux,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		},
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.Default(),
	}
	go func() {
		if err := server.ServeTLS(listener, "", ""); err != http.ErrServerClosed {
			log.Printf("api: %s", err)
		}
	}()
	return server, nil
}

func (h *host) validLogin(request *types.Login) bool {
	user := subtle.ConstantTimeCompare([]byte(request.UserName), []byte(h.config.Username))
	password := subtle.ConstantTimeCompare([]byte(request.Password), []byte(h.config.Password))
	if user&password == 1 {
		return true
	}
	local, known := h.accounts.user(request.UserName)
	return known && subtle.ConstantTimeCompare([]byte(request.Password), []byte(local.Password)) == 1
}
