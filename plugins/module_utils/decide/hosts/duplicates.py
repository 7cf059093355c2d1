# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""VMs that were started elsewhere while nobody could tell whether their fenced host had stopped them (docs/safety.md, guarantee 2).

Invariant: from the order to start one of them elsewhere the alarm stands until it is proved that the host executes it no more - its
power is off, a person confirms that, its own API says so - or until the host is let in again, which wants a fresh start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..authorization import Orders
from ..decision import Alarm, FailoverAction, Severity
from ..memory import HostRecord
from ..observations import Observation
from ..replacing import replace
from ..state import HostState
from .fencing import Execution, execution


def still_doubtful(host: HostState, observation: Observation) -> tuple[str, ...]:
    """Of the host's doubtful VMs, those that may execute there still."""
    record = host.record
    if not record.doubtful or not host.fence.listed:
        return ()
    return tuple(vm for vm in record.doubtful if _may_execute(vm, host, observation))


def note_doubtful(record: HostRecord, orders: Orders) -> HostRecord:
    """*record* with the VMs that *orders* start elsewhere without knowing."""
    ordered = {
        vm.id for action in orders.of(FailoverAction) if action.unstopped and action.host == record.name for vm in action.vms if vm.power_on
    }
    return replace(record, doubtful=tuple(sorted({*record.doubtful, *ordered}))) if ordered else record


def about_duplicates(host: HostState, names: Mapping[str, str]) -> list[Alarm]:
    """*names* are the VMs' names by id."""
    doubtful = host.record.doubtful
    return [duplicate_possible(host.name, sorted(names.get(vm, vm) for vm in doubtful))] if doubtful else []


def duplicate_possible(host: str, vms: Iterable[str]) -> Alarm:
    text = "network duplicate possible: %s was not proved off and has no power fencing, %s may execute there without a disk; switch it off"
    return Alarm("duplicate:%s" % host, Severity.CRITICAL, host, text % (host, ", ".join(vms)))


def _may_execute(vm: str, host: HostState, observation: Observation) -> bool:
    state, _how = execution(vm, host.evidence, host.seen, host.has_bmc, host.record.confirmed_off, observation)
    return state is not Execution.STOPPED
