"""A physical host: its power, its agent, its networks, and what it tells about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

BOOT = 45.0  # s from power on until it works (docs/scenario-format.md)
NOTICES_LOST_STORAGE = 5.0  # s until the host itself says that a datastore is inaccessible
SHUTDOWN = 10.0  # s that an orderly shutdown takes
VM_SHUTDOWN = 5.0  # s of these in which it stops its VMs


@dataclass(frozen=True)
class HostEvent:
    key: int
    kind: str
    vm: str = ""


@dataclass
class Link:
    """A host's way to one storage server, and its datastore there."""

    path: bool = True  # the cable to the target
    accessible: bool = True  # the host says so of the datastore
    mounted: int = 1  # the boot in which it had the datastore last
    wrote: bool = False  # it could write at the last change


@dataclass
class Host:
    name: str
    memory: Optional[int] = None  # MiB; None: unlimited
    cores: Optional[int] = None
    has_bmc: bool = True
    live_migration: bool = True
    networks: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    state: str = "up"  # off, booting, up
    leaving: int = 0  # 0, or which orderly shutdown is under way
    hung: bool = False  # frozen as a whole
    api: bool = True  # its management agent
    network: bool = True  # the management network's cable
    bmc: bool = True  # its BMC can be reached
    red: bool = False  # a hardware sensor
    maintenance: bool = False  # ESXi's maintenance mode, which outlasts a restart
    links: dict[str, Link] = field(default_factory=dict)  # by storage server
    booted_at: float = 0.0
    boot: int = 1  # which boot this is; 0 none yet
    events: list[HostEvent] = field(default_factory=list)
    registered: set[str] = field(default_factory=set)

    @property
    def runs(self) -> bool:
        """Its processors do something."""
        return self.state == "up" and not self.hung

    @property
    def accessible(self) -> bool:
        """It says so of all its datastores."""
        return all(link.accessible for link in self.links.values())

    @property
    def on_network(self) -> bool:
        return self.runs and self.network

    @property
    def answers(self) -> bool:
        """Its API."""
        return self.on_network and self.api

    def tell(self, kind: str, vm: str = "") -> None:
        """Keys are counted anew with each boot."""
        self.events.append(HostEvent(self.events[-1].key + 1 if self.events else 1, kind, vm))
