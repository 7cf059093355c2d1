# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is kept about each VM from look to look: failed starts, readiness, signs of life, and orders that are done.

Invariant: a VM for which nothing of this changes keeps its very record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...instant import Instant
from ..hosts.host_reports import HostReport
from ..memory import Desired, FailedMove, Memory, VmRecord
from ..observations import Act, ActResult, Observation, Power, VmObservation
from ..policy import Policy
from ..replacing import replace
from ..tries import Results, count
from ..verdict import Verdict
from .start_order import note_ready
from .vm_monitoring import ALIVE, note_signs, settle_reset, shows_signs


def annotate(
    memory: Memory,
    observation: Observation,
    vms: tuple[VmRecord, ...],
    verdicts: Mapping[str, Verdict],
    reports: Mapping[str, HostReport],
    results: Results,
    policy: Policy,
    now: Instant,
) -> tuple[tuple[VmRecord, ...], dict[str, list[VmRecord]]]:
    """The records with their notes, and the running VMs without a heartbeat, by host."""
    before = memory.vms_by_id
    hung: dict[str, list[VmRecord]] = {}
    restless = [index for index, vm in enumerate(vms) if not _at_rest(vm, results)]
    if not restless:
        return vms, hung
    quiet = _without_heartbeat(observation) if any(vms[index].power is Power.ON for index in restless) else {}
    after = list(vms)
    for index in restless:
        vm = vms[index]
        crashed = _crashed(before.get(vm.id), vm, reports)
        told_by = results.get(vm.id, ())
        vm = _orders(count(_note_failed_move(note_ready(vm, now), told_by, now), crashed, told_by, policy, now))
        seen = quiet.get((vm.id, vm.host))
        vm = settle_reset(note_signs(vm, seen, now) if seen is not None else shows_signs(vm), told_by)
        if vm.hang.suspected and verdicts.get(vm.host, Verdict.UNKNOWN).works and not vm.ignored:
            hung.setdefault(vm.host, []).append(vm)
        after[index] = vm
    return tuple(after), hung


def _without_heartbeat(observation: Observation) -> dict[tuple[str, str], VmObservation]:
    """The sightings of running VMs whose guests show no heartbeat, by id and host."""
    return {(vm.id, vm.host): vm for vm in observation.vms if vm.power is Power.ON and vm.heartbeat not in ALIVE}


def _at_rest(vm: VmRecord, results: Results) -> bool:
    """It runs where it should, with a heartbeat if it ever had one, and nothing is to be noted: the case of nearly all."""
    if vm.power is not Power.ON or vm.id in results:
        return False
    signs = vm.heartbeat == "green" and vm.up_since is not None or vm.heartbeat != "green" and vm.up_since is None
    return signs and not (vm.wanted_host or vm.tries.failed or vm.tries.rounds or vm.hang.suspected)


def _crashed(before: VmRecord | None, vm: VmRecord, reports: Mapping[str, HostReport]) -> str:
    """The host on which it ran at the last look and stopped by itself since; empty: it did not."""
    if before is None or before.power is not Power.ON or vm.power is Power.ON:
        return ""
    if vm.desired is not Desired.STARTED or vm.restart or vm.host != before.host or vm.power is not Power.OFF:
        return ""
    return "" if vm.host in reports and reports[vm.host].record.going_down else vm.host


def _note_failed_move(vm: VmRecord, results: Iterable[ActResult], now: Instant) -> VmRecord:
    """Of a VM that runs where it was. To count as a start that failed it would have to be down."""
    if vm.power is not Power.ON:
        return vm
    for result in results:
        if result.act in (Act.START, Act.MOVE) and not result.ok and result.key > vm.tries.last_key and result.host != vm.host:
            vm = replace(vm, failed_move=FailedMove(result.host, now, result.reason))
    return vm


def _orders(vm: VmRecord) -> VmRecord:
    """A migration that is done, or a wish for a host that the VM has left since otherwise."""
    if not vm.wanted_host:
        return vm
    if vm.host == vm.wanted_host:
        return replace(vm, ordered=False, wanted_way="") if vm.ordered else vm
    return vm if vm.ordered else replace(vm, wanted_host="")
