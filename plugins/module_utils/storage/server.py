# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A storage server as the arbiter reaches it: on the same machine, or over ssh.

Whatever keeps a server from being asked is in its observation (``serving`` None, with the reason), and never an error of the look:
nobody knows then which of its fences stand, and decide holds what depends on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Optional

from .. import clock
from ..decide.observations import StorageObservation
from ..lease.deadman import Permit
from .fence_list import DEFAULT_FENCE_LIST, FenceList
from .fencing import Fencer
from .interface import StorageTarget, chap_secret, initiator_name
from .observing import observe_storage
from .registry import open_storage
from .unfencing import FreshStart, unfence

FENCE_WAIT = 10.0  # s for the verification of a fence
KEYS = "/etc/libreha/ssh"  # on the arbiter; the role storage_access makes them
SETTINGS = ("name", "driver", "control_port", "saved_config", "fence_list")


@dataclass(frozen=True)
class Ssh:
    """How to log in on a storage server from the arbiter.

    ``key`` is the file of the private key for which the server looks and fences, ``unfence_key`` that of the one for which it lets hosts
    in again as well. ``known_hosts`` has the server's host key, under the server's name in the inventory.
    """

    host: str
    user: str = "root"
    port: int = 22
    key: str = KEYS + "/fence"
    unfence_key: str = KEYS + "/unfence"
    known_hosts: str = KEYS + "/known_hosts"


@dataclass(frozen=True)
class ServerAccess:
    """A storage server's name, its target service, and how it is reached; ``ssh`` None: it is this machine."""

    name: str
    driver: str = "tgt"
    control_port: int = 0
    saved_config: str = ""
    fence_list: str = DEFAULT_FENCE_LIST
    timeout: float = 5.0
    ssh: Optional[Ssh] = None

    def settings(self) -> dict[str, Any]:
        """What the server itself must know in the same way: which one it is, and where its target and its fences are."""
        return {name: getattr(self, name) for name in SETTINGS}


@dataclass(frozen=True)
class FenceRequest:
    """A host to fence at one storage server, under *token*."""

    host: str
    initiators: tuple[str, ...]
    token: int
    reason: str


@dataclass(frozen=True)
class UnfenceRequest:
    """A host to let in again at one storage server, under *token*.

    ``uptime`` in seconds was read of the host at ``read_at``, seconds on the boot-time clock of the machine that carries this out.
    ``word`` is a person's that the host was started after its fence; empty: the uptime must prove it.
    """

    host: str
    token: int
    uptime: float
    read_at: float
    running_vms: tuple[str, ...] = ()  # names
    word: str = ""
    chap_secret: str = field(default="", repr=False)


def observe_here(access: ServerAccess) -> StorageObservation:
    """One look at the target of this machine. Raises LibrehaError for a fence list that cannot be understood."""
    target, fence_list = _opened(access)
    return observe_storage(access.name, target, fence_list)


def fence_here(access: ServerAccess, request: FenceRequest, permit: Permit, durable: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Fence a host at the target of this machine and verify it; the outcome as ``Fencer.fence`` gives it. In the main thread only.
    *durable* is called once the fence is durable, before it is verified."""
    target, fence_list = _opened(access)
    initiators = [initiator_name(name, request.host) for name in request.initiators]
    fencer = Fencer(target, fence_list, permit)
    return fencer.fence(request.host, initiators, request.token, request.reason, wait=FENCE_WAIT, durable=durable).to_dict()


def unfence_here(access: ServerAccess, request: UnfenceRequest, permit: Permit) -> dict[str, Any]:
    """Let a host in again at the target of this machine, with all guards of ``unfence``; its outcome. In the main thread only."""
    target, fence_list = _opened(access)
    proof = FreshStart(
        uptime=request.uptime,
        age=clock.now().seconds - request.read_at,
        force=request.host if request.word else "",
        reason=request.word,
    )
    secret = chap_secret(request.chap_secret, request.host)
    fencer = Fencer(target, fence_list, permit)
    return unfence(fencer, request.host, (), request.token, proof, running_vms=request.running_vms, chap_secret=secret).to_dict()


def _opened(access: ServerAccess) -> tuple[StorageTarget, FenceList]:
    target = open_storage(
        access.driver,
        control_port=access.control_port,
        saved_config=access.saved_config,
        fence_list=access.fence_list,
        timeout=access.timeout,
    )
    return target, FenceList(access.fence_list)


def unasked(name: str, error: Exception) -> StorageObservation:
    """In place of an observation: the server could not be asked."""
    return StorageObservation(name, clock.now(), reason=str(error))
