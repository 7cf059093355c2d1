"""What a lab consists of: names, addresses and options, all following from a few numbers."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any

PREFIX = 24
PORTAL_PORT = 3260
MAX_LABS = 16  # of one machine at the same time

TARGET_IQN = "iqn.2026-01.lab.libreha:shared"
NOBODY_ADDRESS = "255.255.255.255"  # no TCP peer can have it
LUN = 1
LOSS_PERCENT = 30  # of the packets of a bad cable, in each direction
SECTOR = 512
FIRST_EXTENT_SECTOR = 2048
EXTENT_SECTORS = 131072  # 64 MiB
DATASTORE = "shared"

# How fast a lab is. `production` has the times of real hosts and the policy's defaults. `fast` is for tests of order, not of time:
# locks age in seconds. io_stale and confirm_after cannot be short there: no look may take longer than either, and in `make test` looks
# share the machine with QEMU.
TIMINGS: dict[str, dict[str, Any]] = {
    "production": {"lease_seconds": 16.0, "heartbeat_interval_ms": 1000, "policy": {}},
    "fast": {"lease_seconds": 4.0, "heartbeat_interval_ms": 500, "policy": {"io_stale": 15}},
}

MAX_HOSTS = 50  # addresses .11-.60 for hosts, .201-.250 for BMCs
MAX_VMS = 1000  # that write; on 2 cores the target serves no more
MAX_IDLE_VMS = 10000  # without workload
IDLE_INTERVAL_MS = 1000  # between two signs of execution of a VM without workload


@dataclass(frozen=True)
class LabNetwork:
    """What is one lab's own on a machine that may have several: bridges, namespaces, addresses, tgtd's control port."""

    number: int  # from 0 to MAX_LABS - 1

    @property
    def management_bridge(self) -> str:
        return "lhm%d" % self.number

    @property
    def storage_bridge(self) -> str:
        return "lhs%d" % self.number

    @property
    def storage_namespace(self) -> str:
        return self.namespace("storage")

    @property
    def bmc_namespace(self) -> str:
        return self.namespace("bmc")

    @property
    def gateway_namespace(self) -> str:
        return self.namespace("gw")

    @property
    def machine_management(self) -> str:
        """Where the machine itself stands in the management network."""
        return self.management_address(1)

    @property
    def machine_storage(self) -> str:
        return self.storage_address(254)

    @property
    def gateway_address(self) -> str:
        """Answers ping whatever happens to the hosts: the isolation address."""
        return self.management_address(254)

    @property
    def portal_address(self) -> str:
        return self.storage_address(1)

    @property
    def portal(self) -> str:
        return "%s:%d" % (self.portal_address, PORTAL_PORT)

    @property
    def control_port(self) -> int:
        """tgtd's, which is a name in the machine's file system and not a port of TCP."""
        return 100 + self.number

    def namespace(self, name: str) -> str:
        return "lh%d-%s" % (self.number, name)

    def management_link(self, name: str) -> str:
        """A management cable, at the switch's end."""
        return "%s-%s" % (self.management_bridge, name)

    def storage_link(self, name: str) -> str:
        return "%s-%s" % (self.storage_bridge, name)

    def management_address(self, last: int) -> str:
        return "10.213.%d.%d" % (self.number, last)

    def storage_address(self, last: int) -> str:
        return "10.214.%d.%d" % (self.number, last)


@dataclass(frozen=True)
class Options:
    """What ``lab up`` was asked for."""

    hosts: int = 3
    vms: int = 12
    bmc: tuple[str, ...] | None = None  # names of the hosts that have a BMC; None: all
    lease_seconds: float = TIMINGS["production"]["lease_seconds"]
    record_interval_ms: int = 100
    heartbeat_interval_ms: int = TIMINGS["production"]["heartbeat_interval_ms"]
    iscsi_timeout_s: float = 5
    session_idle_s: int = 1800
    host_memory_mib: int = 65536
    host_cpu_cores: int = 16
    vm_memory_mib: int = 2048
    vm_cpus: int = 2
    esxi_version: str = "8.0.3"
    esxi_build: str = "24022510"
    question: bool = True
    no_tools: tuple[str, ...] = ()  # names of VMs whose guests have no VMware Tools
    timings: str = "production"
    arbiter_disk_mib: int = 0  # size of the arbiter's own disk; 0: its files lie with the lab's others
    workload: bool = True  # whether the guests write records; without, a VM has its lock and executes, and that is all


@dataclass(frozen=True)
class Host:
    """One standalone ESXi host of the lab."""

    name: str
    index: int
    address: str
    storage_address: str
    username: str
    password: str = field(repr=False)
    initiator: str
    uuid: str
    port: int = 443
    chap_secret: str = field(default="", repr=False)  # of its initiator; the quick lab's log in without one


@dataclass(frozen=True)
class BmcAccount:
    """How to reach one host's BMC."""

    host: str
    address: str
    username: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        return "https://%s" % self.address


@dataclass(frozen=True)
class Vm:
    """One VM; ``extent`` is the part of the LUN that is its disk."""

    name: str
    extent: int
    first_host: str
    uuid: str

    @property
    def path(self) -> str:
        return "[%s] %s/%s.vmx" % (DATASTORE, self.name, self.name)


def make_hosts(options: Options, network: LabNetwork) -> list[Host]:
    return [_make_host(index, network) for index in range(options.hosts)]


def _make_host(index: int, network: LabNetwork) -> Host:
    name = "esx%d" % (index + 1)
    return Host(
        name=name,
        index=index,
        address=network.management_address(11 + index),
        storage_address=network.storage_address(11 + index),
        username="root",
        password=secrets.token_urlsafe(12),
        initiator="iqn.1998-01.com.vmware:%s" % name,
        uuid=str(uuid.uuid4()),
    )


def make_bmcs(options: Options, hosts: list[Host], network: LabNetwork) -> list[BmcAccount]:
    return [
        BmcAccount(host.name, network.management_address(201 + host.index), "admin", secrets.token_urlsafe(12))
        for host in hosts
        if options.bmc is None or host.name in options.bmc
    ]


def make_vms(options: Options, hosts: list[Host]) -> list[Vm]:
    """VMs spread evenly: one after the other over all hosts."""
    width = max(2, len(str(options.vms)))
    return [
        Vm("vm%0*d" % (width, number), number - 1, hosts[(number - 1) % len(hosts)].name, str(uuid.uuid4()))
        for number in range(1, options.vms + 1)
    ]


def lun_bytes(options: Options) -> int:
    """Size of the backing file (sparse): all extents and four spare ones."""
    return (FIRST_EXTENT_SECTOR + (options.vms + 4) * EXTENT_SECTORS) * SECTOR


def options_from(raw: dict[str, Any]) -> Options:
    return Options(**{**raw, "bmc": None if raw.get("bmc") is None else tuple(raw["bmc"]), "no_tools": tuple(raw["no_tools"])})
