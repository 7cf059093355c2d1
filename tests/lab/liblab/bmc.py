"""Starting the BMCs. One process serves them all, each at its own address with one system: sushy-tools' Redfish emulator (bmc_server)."""

from __future__ import annotations

import os
import socket
import sys
import time

import bcrypt

from .errors import LabError
from .processes import alive, spawn, tail
from .state import Lab, write_private


def start(lab: Lab) -> None:
    """Start the emulator and wait until every BMC accepts connections."""
    if not lab.bmcs:
        return
    home = lab.path / "bmc"
    home.mkdir(parents=True, exist_ok=True)
    for bmc in lab.bmcs:
        # the lab's passwords are random and live for minutes: the cheapest bcrypt costs no time at each request
        hashed = bcrypt.hashpw(bmc.password.encode(), bcrypt.gensalt(rounds=4)).decode()
        write_private(home / ("%s.htpasswd" % bmc.host), "%s:%s\n" % (bmc.username, hashed))
    # its sockets are in the BMCs' namespace, but what it does to a host's cables it does in this one
    own_namespace = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        argv = [sys.executable, "-m", "liblab.bmc_server", str(lab.path), str(own_namespace)]
        env = {"PYTHONPATH": os.path.dirname(os.path.dirname(os.path.abspath(__file__)))}
        lab.processes["bmc"] = spawn(argv, home / "bmc.log", namespace=lab.network.bmc_namespace, pass_fds=[own_namespace], env=env)
    finally:
        os.close(own_namespace)
    lab.save()


def wait_ready(lab: Lab, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    for bmc in lab.bmcs:
        while True:
            try:
                socket.create_connection((bmc.address, 443), timeout=1).close()
                break
            except OSError as error:
                log = lab.path / "bmc" / "bmc.log"
                if not alive(lab.processes.get("bmc")) or time.monotonic() > deadline:
                    raise LabError("The BMC of %s (%s) does not answer: %s\n%s" % (bmc.host, bmc.address, error, tail(log))) from error
                time.sleep(0.1)
