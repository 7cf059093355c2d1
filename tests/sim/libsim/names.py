"""Names and constants of the simulated cluster."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Backing
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant

SERVER = "san"  # the storage server of a scenario that names none; the first one is also the arbiter
STORE = "ds-shared"  # UUID of the datastore there
FILES = (("vmx", "vmx"), ("disk", "vmdk"), ("swap", "vswp"))
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


def target(server: str) -> str:
    return "iqn.2026-01.sim:%s" % server


def store(server: str) -> str:
    """UUID of the one datastore on a storage server."""
    return STORE if server == SERVER else "ds-%s" % server


def store_name(server: str) -> str:
    return STORE_NAME if server == SERVER else "on-%s" % server


def vm_id(vm: str, server: str = SERVER) -> str:
    """*server*: the one that holds its .vmx file."""
    return "%s:%s/%s.vmx" % (store(server), vm, vm)


def vmx_path(vm: str, server: str = SERVER) -> str:
    return "[%s] %s/%s.vmx" % (store_name(server), vm, vm)


def files(vm: str, servers: Sequence[str]) -> tuple[Backing, ...]:
    """What a VM opens: everything at its first storage server, and a disk more at each of the others."""
    home = servers[0]
    found = [Backing("[%s] %s/%s.%s" % (store_name(home), vm, vm, end), kind, store_name(home), store(home)) for kind, end in FILES]
    for server in servers[1:]:
        found.append(Backing("[%s] %s/%s-1.vmdk" % (store_name(server), vm, vm), "disk", store_name(server), store(server)))
    return tuple(found)


def name_of(identity: str) -> str:
    """The scenario's name of a VM id."""
    return identity.partition(":")[2].rpartition("/")[0]


@lru_cache(maxsize=16)  # what happens at one moment asks for it many times
def instant(now: float, wall_offset: float = 0.0, boots: tuple[float, ...] = ()) -> Instant:
    """Simulated time on the arbiter's boot-time clock, which begins anew at each of *boots*; only the wall time knows *wall_offset*."""
    wall = _EPOCH + timedelta(seconds=now + wall_offset)
    past = [at for at in boots if at <= now]
    if past:
        return Instant("%s-%d" % (BOOT_ID, 1 + len(past)), now - past[-1], wall.isoformat(timespec="milliseconds"))
    return Instant(BOOT_ID, _UPTIME + now, wall.isoformat(timespec="milliseconds"))
