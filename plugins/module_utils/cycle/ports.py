# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the monitor's loop needs of the world: the one narrow place between it and real hosts, or simulated ones.

The loop (monitor.py), the judgement (judge.py), the runners (act/) and the database are the same in both worlds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Union

from ..decide.decision import FenceAction, MaintenanceAction, PlannedMove, PlannedVm, RejoinAction, ShutdownAction
from ..decide.observations import ActInProgress, Observation
from ..instant import Instant


@dataclass(frozen=True)
class FenceOrder:
    """Fence one host."""

    action: FenceAction

    @property
    def acts(self) -> tuple[ActInProgress, ...]:
        return (ActInProgress(self.action.host),)

    def __str__(self) -> str:
        return "fence %s" % self.action.host


@dataclass(frozen=True)
class FailoverOrder:
    """Start VMs: ``planned``, and those whose open transactions an earlier run left (``resumed``: VM id -> destination). ``live`` are
    the hosts on which they may be started; ``leave`` are ids of VMs that another order is about."""

    planned: tuple[PlannedVm, ...]
    resumed: tuple[tuple[str, str], ...]
    live: tuple[str, ...]
    leave: frozenset[str]

    @property
    def acts(self) -> tuple[ActInProgress, ...]:
        destinations = {**dict(self.resumed), **{vm.id: vm.destination for vm in self.planned}}
        return tuple(ActInProgress(host, vm) for vm, host in destinations.items())

    def __str__(self) -> str:
        return "start %d VMs" % len(self.acts)


@dataclass(frozen=True)
class PowerOrder:
    """Stop or reset VMs (``kind``) of one host, by their ids."""

    kind: str
    host: str
    vms: tuple[str, ...]

    @property
    def acts(self) -> tuple[ActInProgress, ...]:
        return tuple(ActInProgress(self.host, vm) for vm in self.vms)

    def __str__(self) -> str:
        return "%s %d VMs on %s" % (self.kind, len(self.vms), self.host)


@dataclass(frozen=True)
class MoveOrder:
    """Move VMs (``planned``) of one working host to others; ``live`` and ``leave`` as of a failover."""

    planned: tuple[PlannedMove, ...]
    live: tuple[str, ...]
    leave: frozenset[str]

    @property
    def acts(self) -> tuple[ActInProgress, ...]:
        return tuple(ActInProgress(move.destination, move.id) for move in self.planned)

    def __str__(self) -> str:
        return "move %d VMs off %s" % (len(self.planned), self.planned[0].source)


@dataclass(frozen=True)
class RejoinOrder:
    """The next step of letting a fenced host in again."""

    action: RejoinAction

    @property
    def acts(self) -> tuple[ActInProgress, ...]:
        return (ActInProgress(self.action.host),)

    def __str__(self) -> str:
        return "%s %s" % (self.action.step, self.action.host)


@dataclass(frozen=True)
class MaintenanceOrder:
    """Have a host enter its maintenance mode, or leave it."""

    action: MaintenanceAction

    @property
    def acts(self) -> tuple[ActInProgress, ...]:
        return (ActInProgress(self.action.host, mode=True),)

    def __str__(self) -> str:
        return "%s maintenance mode of %s" % ("enter" if self.action.enter else "leave", self.action.host)


@dataclass(frozen=True)
class ShutdownOrder:
    """Shut a host down on which no VM runs."""

    action: ShutdownAction

    @property
    def acts(self) -> tuple[ActInProgress, ...]:
        return (ActInProgress(self.action.host, mode=True),)

    def __str__(self) -> str:
        return "shut down %s" % self.action.host


Order = Union[FenceOrder, FailoverOrder, PowerOrder, MoveOrder, RejoinOrder, MaintenanceOrder, ShutdownOrder]


@dataclass(frozen=True)
class Ended:
    """An order that has come to its end. ``failed`` are sentences about what is not done; ``moved`` what a failover did, VM by VM."""

    order: Order
    failed: tuple[str, ...] = ()
    changed: bool = False
    moved: tuple[Mapping[str, object], ...] = ()
    unregistered: tuple[str, ...] = ()  # .vmx files that no host has registered


class Observer(Protocol):
    """Looks at the cluster; changes nothing."""

    def look(self, events_after: Mapping[str, int], health: Collection[str], disks: Collection[str], after: Instant) -> Observation:
        """One look at everything: bounded in time, whatever does not answer.

        Args:
            events_after: Host -> the key of the newest of its events that is known.
            health: Storage servers whose own health is due, and of *disks* that of their disks as well.
            after: When the last act began or ended, as far as this run knows. No list of VMs and nothing of a storage server in the look
                was asked for before: a list from before a start shows its VM down, and one from before a rejoin a fence that is gone.
        """

    def news(self) -> bool:
        """Whether something has changed since the last look that another look should not wait for. An observer that asks only when it
        looks has none."""

    def highest_token(self) -> int:
        """The highest fencing token that any storage server tells of; 0 where none answers."""


class Executor(Protocol):
    """Carries orders out, each by itself: none waits for another, and the loop waits for none."""

    def begin(self, order: Order) -> None:
        """Start to carry *order* out."""

    def in_progress(self) -> Sequence[Order]:
        """Orders that have begun and not ended."""

    def ended(self) -> Sequence[Ended]:
        """Orders that ended since the last call. Raises LeaseLost or StaleToken when one of them found that this run may act no more."""

    def call_off(self, order: Order) -> None:
        """Begin nothing more of *order*; it ends soon, and what is open then is planned anew. Said again, it is nothing."""

    def wait(self, seconds: float) -> bool:
        """Until an order ends, or *seconds* are over. Returns whether one ended."""

    def finish(self, seconds: float) -> bool:
        """Have everything come to its end, and wait for it no longer than *seconds*. Returns whether nothing acts any more; what still
        does is under way, and on its own."""
