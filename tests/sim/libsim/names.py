"""Names and constants of the simulated cluster."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from ansible_collections.libreha.vmware.plugins.module_utils.decide.instant import Instant

SERVER = "san"  # the storage server, which is also the arbiter: the monitor runs there
TARGET = "iqn.2026-01.sim:san"
STORE = "ds-shared"  # UUID of the datastore on the target
STORE_NAME = "shared"
NETWORK = "VM Network"
BOOT_ID = "arbiter-boot"
UNLIMITED_MEMORY = 16 * 1024 * 1024  # MiB of a host that the scenario does not limit
UNLIMITED_CORES = 4096
CORE = 1000  # MHz
_EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)
_UPTIME = 100000.0  # of the arbiter, when the simulation begins


def initiator(host: str) -> str:
    return "iqn.1998-01.com.vmware:%s" % re.sub(r"\s", "-", host)


def vm_id(vm: str) -> str:
    return "%s:%s/%s.vmx" % (STORE, vm, vm)


def vmx_path(vm: str) -> str:
    return "[%s] %s/%s.vmx" % (STORE_NAME, vm, vm)


def name_of(identity: str) -> str:
    """The scenario's name of a VM id."""
    return identity.partition(":")[2].rpartition("/")[0]


def instant(now: float, wall_offset: float = 0.0) -> Instant:
    """Simulated time on the arbiter's boot-time clock; only the wall time knows *wall_offset*."""
    wall = _EPOCH + timedelta(seconds=now + wall_offset)
    return Instant(BOOT_ID, _UPTIME + now, wall.isoformat(timespec="milliseconds"))
