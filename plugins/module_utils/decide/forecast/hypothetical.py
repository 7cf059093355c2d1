# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks that nobody took: a real one, changed to what would be seen if hosts were lost.

Only what was observed is changed, never a verdict or a plan, so ``decide`` judges an imagined failure by the very
rules by which it would judge a real one. What nobody could read stays unread: a storage server that cannot be asked
confirms no imagined fence either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Optional

from ...instant import Instant
from ..answers import ApiAnswer, Evidence
from ..decision import PlannedVm
from ..memory import VmRecord
from ..observations import Fence, HostObservation, Observation, Power, Session, StorageObservation, VmObservation, same_initiator


def dead(observation: Observation, lost: Mapping[str, str], bmc: Collection[str]) -> Observation:
    """The hosts *lost* (name -> initiator) fall silent: no API, no ping, no session. Their BMCs (*bmc*) still tell that the power is on."""
    return _silenced(observation, lost, dict.fromkeys(bmc, Power.ON))


def fenced(observation: Observation, lost: Mapping[str, str], bmc: Collection[str]) -> Observation:
    """The hosts *lost* are dead, their fence is confirmed at every storage server that can be asked, and a BMC has switched them off."""
    silent = _silenced(observation, lost, dict.fromkeys(bmc, Power.OFF))
    return replace(silent, storage=tuple(_fenced_at(server, lost) for server in silent.storage))


def started(observation: Observation, plan: Iterable[PlannedVm], vms: Iterable[VmRecord]) -> Observation:
    """The VMs of *plan* run where it puts them; their hosts do not yet count them in their free memory."""
    records = {vm.id: vm for vm in vms}
    moved = tuple(_running(vm, records[vm.id], observation.taken_at) for vm in plan if vm.power_on)
    gone = {vm.id for vm in moved}
    return replace(observation, vms=tuple(vm for vm in observation.vms if vm.id not in gone) + moved)


def later(observation: Observation, seconds: float) -> Observation:
    """The same look, taken *seconds* later on every clock; who wrote goes on writing. Lists of VMs and events are left out."""

    def after(instant: Instant) -> Instant:
        return replace(instant, seconds=instant.seconds + seconds)

    hosts = tuple(
        replace(host, taken_at=after(host.taken_at), sampled=None, uptime=None if host.uptime is None else host.uptime + seconds)
        for host in observation.hosts
    )
    storage = tuple(
        replace(
            server,
            taken_at=after(server.taken_at),
            up_for=None if server.up_for is None else server.up_for + seconds,
            sessions=None if server.sessions is None else tuple(_went_on(session, seconds) for session in server.sessions),
        )
        for server in observation.storage
    )
    return replace(
        observation, taken_at=after(observation.taken_at), hosts=hosts, storage=storage, vms=(), vms_read=(), events=(), results=()
    )


def _silenced(observation: Observation, lost: Mapping[str, str], power: Mapping[str, Power]) -> Observation:
    at = observation.taken_at
    silent = tuple(
        HostObservation(
            name,
            at,
            api_answer=ApiAnswer.TIMED_OUT,
            ping=Evidence.FAILED,
            has_bmc=name in power,
            power=power.get(name, Power.UNKNOWN),
        )
        for name in sorted(lost)
    )
    return replace(
        observation,
        hosts=tuple(host for host in observation.hosts if host.name not in lost) + silent,
        vms=tuple(vm for vm in observation.vms if vm.host not in lost),
        vms_read=tuple(name for name in observation.vms_read if name not in lost),
        events=(),
        results=(),
        storage=tuple(_without_sessions(server, lost.values()) for server in observation.storage),
    )


def _without_sessions(server: StorageObservation, initiators: Collection[str]) -> StorageObservation:
    if server.sessions is None:
        return server
    return replace(server, sessions=tuple(item for item in server.sessions if not _is_one_of(item.initiator, initiators)))


def _fenced_at(server: StorageObservation, lost: Mapping[str, str]) -> StorageObservation:
    if server.serving is None:
        return server
    token = server.highest_token + 1
    mine = [(name, initiator) for name, initiator in sorted(lost.items()) if initiator]
    lines = tuple(Fence(name, initiator, token, server.taken_at, reason="imagined", confirmed=True) for name, initiator in mine)
    others = tuple(line for line in server.fences if line.host not in lost and not _is_one_of(line.initiator, lost.values()))
    access = tuple(
        replace(rule, initiators=tuple(name for name in rule.initiators if not _is_one_of(name, lost.values()))) for rule in server.access
    )
    return replace(server, fences=others + lines, access=access)


def _is_one_of(initiator: str, initiators: Iterable[str]) -> bool:
    return any(same_initiator(initiator, other) for other in initiators)


def _running(vm: PlannedVm, record: VmRecord, at: Instant) -> VmObservation:
    return VmObservation(
        id=vm.id,
        host=vm.destination,
        name=vm.name,
        path=vm.vmx,
        taken_at=at,
        power=Power.ON,
        memory=record.memory,
        cpu=record.cpu,
        cpu_reserved=record.cpu_reserved,
        memory_reserved=record.memory_reserved,
        hardware_version=record.hardware_version,
        networks=record.networks,
        obstacles=record.obstacles,
        attached_disks=record.attached_disks,
    )


def _went_on(session: Session, seconds: float) -> Session:
    """Further on with each second, so that each later look sees progress since the one before."""
    return replace(session, commands_done=_more(session.commands_done, seconds), bytes_done=_more(session.bytes_done, seconds))


def _more(counter: Optional[int], seconds: float) -> Optional[int]:
    return None if counter is None else counter + max(1, int(seconds))
