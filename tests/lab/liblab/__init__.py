"""The quick lab behind ``tests/lab/lab``: standalone ESXi hosts, iSCSI storage and BMCs as real processes on one machine."""
