"""A VM: where it executes, who has its lock, where it is registered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import Obstacle

from ..names import SERVER, vm_id

LOCK_LEASE = 16.0  # s for which VMFS' lock of a silent host is honoured


@dataclass
class Vm:
    name: str
    host: str  # the host that has it: where it executed last, or where it was brought
    memory: int = 0  # MiB
    cores: int = 0
    networks: tuple[str, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    servers: tuple[str, ...] = (SERVER,)  # that hold files of it, the one with its .vmx file first
    executing: list[str] = field(default_factory=list)  # hosts, in the order of their starts
    starting: str = ""  # a host that is just powering it on
    moving_to: str = ""  # the destination of its live migration
    cold_to: str = ""  # the destination of its move while it is stopped for it
    let_go: Optional[tuple[str, float]] = None  # the host that stopped it for such a move, by its own word, and when
    lock: str = ""  # the host that has its lock
    lock_ends: Optional[float] = None  # None: it is being renewed
    start_fails: dict[str, int] = field(default_factory=dict)  # host -> how often from now on
    crashes: int = 0
    suspended_on: str = ""  # the CPU on which its memory was suspended that its datastore has; empty: it starts anew
    hangs_since: Optional[float] = None  # its guest does nothing any more
    shutdown_lasts: float = 3.0  # s that its guest takes to shut down
    goes_down_at: Optional[float] = None  # when its guest, which was asked, is down

    @property
    def id(self) -> str:
        return vm_id(self.name, self.servers[0])

    @property
    def place(self) -> str:
        """Where it counts: a VM on its way is at its destination; empty when it does not run."""
        return self.moving_to or self.cold_to or (self.executing[-1] if self.executing else "")

    @property
    def runs(self) -> bool:
        return bool(self.executing)

    def locked_for(self, host: str, now: float) -> bool:
        """Whether somebody else's lock keeps *host* from opening its files."""
        if self.lock in ("", host):
            return False
        return self.lock_ends is None or now < self.lock_ends
