# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One host in one look, and the cluster: all that the responses are chosen from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Optional

from ..instant import Instant
from .answers import ApiAnswer
from .evidence import HostEvidence
from .memory import DatastoreRecord, HostRecord, ShutdownRecord, StorageRecord, VmRecord, servers_of
from .observations import HostObservation, Observation
from .policy import AgentHungResponse, HostPolicy, IsolationResponse, Policy
from .rules import Rules
from .verdict import Judgement, Verdict


@dataclass(frozen=True)
class FenceState:
    listed: bool = False  # on a fence list, or was when it could last be asked
    whole: bool = False  # at every storage server, or meant to be; otherwise it works at the others
    confirmed: bool = False  # at every server at which it is meant to be fenced
    servers: tuple[str, ...] = ()  # that list it, or did when they could last be asked
    confirmed_at: tuple[str, ...] = ()  # that confirm it in this look, or for which a person's word stands
    admitted: bool = False  # fenced and yet let in
    missing: str = ""  # what is missing for confirmed
    by_word: str = ""  # what could not be asked, where a person's word that the host is off stands in for it
    taken_on_word: tuple[str, ...] = ()  # those of ``confirmed_at``
    initiators: tuple[str, ...] = ()  # of the fence list's lines
    on_a_list: bool = False  # listed by a storage server, not only by a person's word
    let_in_again: bool = False  # it was fenced, and no server lists it any more


@dataclass(frozen=True)
class Confirmation:
    """``record`` carries the count on; ``waiting`` says what is missing while not ``confirmed``."""

    record: HostRecord
    confirmed: bool
    lasted: float  # seconds from the first to the latest sample of this verdict
    needed: float  # seconds
    waiting: str = ""


@dataclass(frozen=True)
class Unprotected:
    """Why a VM is not failed over. ``chosen``: the policy says so, which is no cause for an alarm."""

    reason: str
    chosen: bool


@dataclass(frozen=True)
class HostState:
    name: str
    policy: HostPolicy
    seen: Optional[HostObservation]
    evidence: HostEvidence
    judgement: Judgement
    confirmation: Confirmation
    fence: FenceState
    has_bmc: bool  # one that can be used, and proves by it that the host is off
    wrong_bmc: str = ""  # why the one that it is said to have is another machine's
    restarted: bool = False
    unfenceable: str = ""  # why; empty: a fence of it means something

    @property
    def verdict(self) -> Verdict:
        return self.judgement.verdict

    @property
    def record(self) -> HostRecord:
        return self.confirmation.record

    @property
    def can_be_switched(self) -> bool:
        """Whether something can switch it off, be that a proof or not."""
        return self.has_bmc or (self.seen is not None and bool(self.seen.proves_no_off) and not self.wrong_bmc)

    @property
    def answers_api(self) -> bool:
        """Whether its API answered, in a sample that is fresh."""
        return self.seen is not None and self.seen.api_answer is ApiAnswer.ANSWERED and self.evidence.fresh

    @property
    def is_fenced(self) -> bool:
        return self.verdict in (Verdict.FENCED, Verdict.FENCING)

    @property
    def reason(self) -> str:
        """Why it is judged so, without anything that counts up from look to look."""
        if not self.is_fenced:
            return self.judgement.reason
        return self.fence.missing or self.fence_proof

    @property
    def fence_proof(self) -> str:
        """What a complete fence rests on: the storage servers that confirm it, and whose word stands in for others."""
        word = "on the word of %s (%s)" % (self.record.confirmed_off, self.fence.by_word) if self.fence.by_word else ""
        asked = [name for name in self.fence.confirmed_at if name not in self.fence.taken_on_word]
        return " and ".join(part for part in ("confirmed on %s" % ", ".join(asked) if asked else "", word) if part)

    @property
    def text(self) -> str:
        """ "esx1 dead since 12:00:15 (api timed out, ping failed, storage failed 16 s, 4 samples)" """
        if self.is_fenced:
            return "%s %s (%s)" % (self.name, self.verdict.value, self.reason)
        since = self.record.since
        when = " since %s" % clock_time(since.wall) if since is not None and since.wall and not self.verdict.works else ""
        samples = "" if self.verdict.works else ", %d sample%s" % (self.record.samples, "" if self.record.samples == 1 else "s")
        return "%s %s%s (%s%s)" % (self.name, self.verdict.value, when, self.evidence.text, samples)


@dataclass(frozen=True)
class Cluster:
    """All of one look, after judging."""

    policy: Policy
    observation: Observation
    hosts: Mapping[str, HostState]
    vms: tuple[VmRecord, ...]
    vms_on: Mapping[str, tuple[VmRecord, ...]]  # by the host where they are recorded
    unprotected: Mapping[str, Unprotected]  # VM id -> why
    datastores: Mapping[str, DatastoreRecord]
    storage: tuple[StorageRecord, ...]
    servers: tuple[str, ...]  # names of all storage servers
    observer_isolated: bool
    watched: Mapping[str, bool]  # host -> its VMs were read in the present unbroken watch
    now: Instant
    rules: Rules
    awaited: frozenset[str] = frozenset()  # hosts that are late at a cold start, or go down with everything
    shutdown: Optional[ShutdownRecord] = None

    @property
    def goes_down(self) -> bool:
        """Whether everything is being shut down."""
        return self.shutdown is not None and not self.shutdown.ended

    def servers_of(self, vm: VmRecord) -> frozenset[str]:
        """The storage servers that hold its files; empty when that is not known of all of them."""
        return servers_of(vm, self.datastores, self.storage)

    def vm_host(self, identity: str) -> str:
        """The host where the VM with this id is recorded."""
        return next((vm.host for vm in self.vms if vm.id == identity), "")

    def lost_on(self, host: str, servers: Collection[str]) -> list[VmRecord]:
        """The protected VMs recorded on *host* that lie on *servers* and nowhere else."""
        found = [(vm, self.servers_of(vm)) for vm in self.protected_on(host)]
        return [vm for vm, on in found if on and on <= set(servers)]

    def out_of_service(self, host: str) -> bool:
        """In maintenance, told by the host or asked for by an operator, and without protected VMs: losing it harms nobody."""
        record = self.hosts[host].record
        return (record.maintenance or record.wanted_maintenance) and not self.protected_on(host)

    def leads(self, host: HostState) -> bool:
        """Whether its VMs can be led in order, started, stopped and moved: it works, and its list was read in this look."""
        return host.verdict.works and host.evidence.fresh and self.observation.was_read(host.name)

    def protected_on(self, host: str) -> list[VmRecord]:
        return [vm for vm in self.vms_on.get(host, ()) if vm.id not in self.unprotected]


def leads_to_fence(verdict: Verdict, policy: Policy) -> bool:
    """Whether the policy answers this verdict with a fence. Such verdicts count for the brake."""
    if verdict is Verdict.ISOLATED:
        return policy.isolation_response is IsolationResponse.FAILOVER
    if verdict is Verdict.AGENT_HUNG:
        return policy.agent_hung_response is AgentHungResponse.FAILOVER
    return verdict in (Verdict.DEAD, Verdict.STORAGE_LOST, Verdict.STORAGE_PARTLY_LOST)


def clock_time(wall: str) -> str:
    """The time of day of an ISO 8601 instant, for people."""
    return wall.partition("T")[2][:8] or wall
