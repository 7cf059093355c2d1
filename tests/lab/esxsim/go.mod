module libreha/esxsim

go 1.25

require github.com/vmware/govmomi v0.54.0 // indirect
