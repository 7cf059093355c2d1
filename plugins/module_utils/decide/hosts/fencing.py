# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a host is fenced, and whether its VMs still execute: the two questions before a VM starts elsewhere.

Invariant: the answer to the first comes from the storage servers' own fence lists in this very look and from nothing
else. Each server that could give the host a disk must show the host's initiator as confirmed and not admitted; a
server that could not be asked makes the answer no. Memory serves only the other direction: a host that was fenced
when it could last be asked is still treated as fenced.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum

from ..answers import ApiAnswer, Evidence
from ..evidence import HostEvidence
from ..memory import HostRecord
from ..observations import Fence, HostObservation, Observation, Power, StorageObservation, same_initiator
from ..policy import Policy
from ..state import FenceState


def storage_servers(policy: Policy, observation: Observation) -> tuple[str, ...]:
    return tuple(sorted(set(policy.storage) | {server.name for server in observation.storage}))


def fence_state(host: str, observation: Observation, record: HostRecord, evidence: HostEvidence, policy: Policy) -> FenceState:
    """The fence of *host* over all storage servers.

    A person's word that the host is off stands in for servers that cannot be asked, until the host shows a sign of life;
    its fence stays pending at those, so it is applied at first contact.
    """
    word = record.confirmed_off if not evidence.answers and evidence.power is not Power.ON else ""
    initiator = policy.host(host).initiator
    asked = {server.name: server for server in observation.storage if server.serving is not None}
    servers = storage_servers(policy, observation)
    meant = _meant_for(host, initiator, asked, record, servers, bool(word))
    admitted = False
    missing: list[str] = []
    by_word: list[str] = []
    initiators: set[str] = set()
    listed_at: list[str] = []
    confirmed_at: list[str] = []
    for name in servers:
        if name not in asked:
            listed_at += [name] if name in record.fenced_at else []
            if name in meant:
                (by_word if word else missing).append("%s could not be asked" % name)
                confirmed_at += [name] if word else []
            continue
        lines = _lines(host, initiator, asked[name])
        gaps = ["%s: %s" % (name, line.why_not or "not confirmed") for line in lines if not line.confirmed]
        gaps += ["%s admits it again" % name for line in lines if line.admitted]
        admitted = admitted or any(line.admitted for line in lines)
        initiators |= {line.initiator for line in lines}
        listed_at += [name] if lines else []
        if not any(same_initiator(line.initiator, initiator) for line in lines):
            if name in meant:
                missing.append("%s does not list it" % name)
        elif not gaps:
            confirmed_at.append(name)
        missing += gaps
    listed = any(name in asked for name in listed_at)
    unasked = {name for name in servers if name not in asked}
    unsure = record.fenced and bool(unasked)
    # A fence that was ordered, and that nobody could look for since, may have been applied.
    ordered = bool(unasked & set(record.fence_scope))
    let_in_again = record.fenced and not listed and not unsure
    pending = bool(record.confirmed_off) and not let_in_again
    return FenceState(
        listed=listed or unsure or ordered or pending,
        whole=(listed or unsure or ordered or pending) and meant == set(servers),
        confirmed=bool(meant) and bool(initiator) and not missing and (listed or bool(by_word)),
        servers=tuple(listed_at),
        confirmed_at=tuple(confirmed_at) if initiator else (),
        let_in_again=let_in_again,
        on_a_list=listed or unsure,
        admitted=admitted,
        missing="; ".join(missing),
        by_word="; ".join(by_word),
        taken_on_word=tuple(name for name in confirmed_at if name not in asked),
        initiators=tuple(sorted(initiators)),
    )


def _meant_for(
    host: str, initiator: str, asked: Mapping[str, StorageObservation], record: HostRecord, servers: Collection[str], word: bool
) -> set[str]:
    """The storage servers at which the host is, or is to be, fenced.

    Those that list it, those that did when they could last be asked, and while any of them does, those at which a fence was
    ordered. A server that is asked, does not list it, and was never meant is not drawn in: the host works there.
    """
    listing = {name for name in servers if name in asked and _lines(host, initiator, asked[name])}
    listing |= {name for name in (*record.fenced_at, *record.fence_scope) if name in servers and name not in asked}
    if record.confirmed_off or word:
        return set(servers)
    if not listing:
        # Lists that cannot be asked now may hold it, as they did before.
        return set(servers) if record.fenced and any(name not in asked for name in servers) else set()
    return listing | {name for name in record.fence_scope if name in servers}


def _lines(host: str, initiator: str, server: StorageObservation) -> list[Fence]:
    return [line for line in server.fences if line.host == host or same_initiator(line.initiator, initiator)]


class Execution(Enum):
    """Whether one VM still executes on its fenced host."""

    STOPPED = "stopped"  # proved
    CANNOT_TELL = "cannot tell"  # no power fencing and not reachable: the one exception, with an alarm
    HOLD = "hold"  # it may execute, and there is a way to stop it that has not succeeded yet


def execution(
    vm: str, host: HostEvidence, seen: HostObservation | None, has_bmc: bool, word: str, observation: Observation
) -> tuple[Execution, str]:
    """Whether *vm* executes on its fenced host, and the reason in words."""
    if host.power is Power.OFF and not host.answers:
        return Execution.STOPPED, "power off"
    if word and not host.answers and host.power is not Power.ON:
        return Execution.STOPPED, "confirmed off by %s" % word
    if seen is not None and seen.api_answer is ApiAnswer.ANSWERED and host.fresh and observation.was_read(host.host):
        power = _listed_power(vm, host.host, observation)
        if power <= {Power.OFF, Power.SUSPENDED}:
            return Execution.STOPPED, "stopped through its API"
        return Execution.HOLD, "its own API says that the VM is %s" % "/".join(sorted(item.value for item in power))
    if has_bmc:
        return Execution.HOLD, "its power is %s" % host.power.value
    if seen is not None and seen.api_answer is ApiAnswer.ANSWERED:
        return Execution.HOLD, "its API answers, but its VMs could not be read"
    if host.api is Evidence.UNKNOWN or not host.fresh:
        return Execution.HOLD, "it has no power fencing, and could not be asked"
    return Execution.CANNOT_TELL, "it cannot be reached and has no power fencing"


def _listed_power(vm: str, host: str, observation: Observation) -> set[Power]:
    """How the host lists the VM. Without its datastore a host may not know the VM's id, so the path counts as well;
    if even that fits none, one of the running VMs whose files it cannot read may be it."""
    path = vm.partition(":")[2]
    listed = observation.listed_on(host)
    exact = {item.power for item in listed if item.id == vm or (not item.accessible and item.path.endswith(path))}
    return exact or {item.power for item in listed if not item.accessible}


def initiators_to_fence(host: str, policy: Policy, state: FenceState) -> tuple[str, ...]:
    names: Collection[str] = {policy.host(host).initiator, *state.initiators} - {""}
    return tuple(sorted(names))
