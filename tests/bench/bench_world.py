# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A large cluster for measuring decide: 125 VMs a host, four files a VM, two storage servers, a rule for 40 VMs.

Everything is a function of the size and the time, so two runs measure the same work. Looks come as JSON text, the way
a playbook hands them over; nothing is shared between two looks but what decide itself remembers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.decide import observations as seen
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Decision
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import to_dict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy

VMS_A_HOST = 125
SERVERS = ("san1", "san2")
TARGETS_A_SERVER = 4
DATASTORES_A_TARGET = 2
DATASTORES = len(SERVERS) * TARGETS_A_SERVER * DATASTORES_A_TARGET
EVERY = 3.0  # s between two looks
NETWORKS = ("VM Network", "backup", "dmz")
NAMED_EVERY = 6  # every sixth VM is named in the policy, most of them by a rule as well
A_RULE = 5  # VMs


def target(number: int) -> str:
    return "iqn.2026-01.lab:%s-%d" % (SERVERS[number % len(SERVERS)], number // len(SERVERS))


def initiator(host: str) -> str:
    return "iqn.1998-01.com.vmware:%s" % host


def host_name(number: int) -> str:
    return "esx%04d" % number


@dataclass
class BenchWorld:
    """``hosts`` hosts and 125 times as many VMs. ``dead`` hosts answer nothing; ``fenced`` ones are confirmed fenced."""

    hosts: int
    now: float = 1000.0
    memory: Memory = Memory()
    dead: set[str] = field(default_factory=set)
    fenced: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.names = [host_name(number) for number in range(self.hosts)]
        self.policy = read_policy(self._policy())

    @property
    def vms(self) -> int:
        return self.hosts * VMS_A_HOST

    def at(self) -> Instant:
        return Instant(
            "boot-1", self.now, "2026-01-01T%02d:%02d:%02d.000+00:00" % (self.now // 3600 % 24, self.now // 60 % 60, self.now % 60)
        )

    def look(self) -> seen.Observation:
        """What is seen now."""
        alive = [name for name in self.names if name not in self.dead]
        return seen.Observation(
            taken_at=self.at(),
            hosts=tuple(self._host(name) for name in self.names),
            vms=tuple(
                self._vm(host, number) for host, name in enumerate(self.names) if name not in self.dead for number in range(VMS_A_HOST)
            ),
            vms_read=tuple(alive),
            storage=tuple(self._storage(name) for name in SERVERS),
        )

    def text(self) -> str:
        return json.dumps(to_dict(self.look()))

    def step(self) -> Decision:
        """Let time pass, look, decide; the memory is kept."""
        self.now += EVERY
        decision = self.decide(self.look(), self.memory)
        self.memory = decision.memory
        return decision

    def decide(self, look: seen.Observation, memory: Memory) -> Decision:
        return decide(self.policy, memory, look, self.at(), "run-1")

    def _policy(self) -> dict[str, Any]:
        priorities = ("highest", "high", "low", "lowest")

        return {
            "mode": "act",
            "hosts": {name: {"initiator": initiator(name), "has_bmc": number % 2 == 0} for number, name in enumerate(self.names)},
            "storage": {name: {} for name in SERVERS},
            "vms": {
                _vm_name(host, number): {"priority": priorities[number // NAMED_EVERY % 4]}
                for host in range(self.hosts)
                for number in range(0, VMS_A_HOST, NAMED_EVERY)
            },
            "rules": self._rules(),
        }

    def _rules(self) -> list[dict[str, Any]]:
        """One rule for each 40 VMs: where VMs run, then which run together, then which run apart; all hold while all are healthy."""
        rules: list[dict[str, Any]] = []
        for number in range(self.vms // 40):
            turn, home = divmod(number, self.hosts)
            slots = range(turn * A_RULE * NAMED_EVERY, (turn + 1) * A_RULE * NAMED_EVERY, NAMED_EVERY)
            apart = turn % 3 == 2
            names = [_vm_name((home + step) % self.hosts if apart else home, slot) for step, slot in enumerate(slots)]
            rule: dict[str, Any] = {"vms": names, "required": number % 3 != 0}
            if turn % 3 == 0:
                near = {self.names[(home + step) % self.hosts]: 1 for step in range(0, self.hosts, 2)}
                rules.append({"type": "host_affinity", "hosts": near, **rule})
            else:
                rules.append({"type": "vm_affinity", "together": not apart, **rule})
        return rules

    def _host(self, name: str) -> seen.HostObservation:
        number = self.names.index(name)
        common: dict[str, Any] = {"name": name, "taken_at": self.at(), "has_bmc": number % 2 == 0}
        if name in self.dead:
            power = seen.Power.OFF if number % 2 == 0 and name in self.fenced else seen.Power.UNKNOWN
            return seen.HostObservation(api_answer=seen.ApiAnswer.TIMED_OUT, ping=seen.Evidence.FAILED, power=power, **common)
        shared = [
            seen.Datastore(
                "shared%02d" % store,
                "ds-%02d" % store,
                capacity=1 << 44,
                free=1 << 42,
                luns=(seen.Lun(target(store // DATASTORES_A_TARGET), store % DATASTORES_A_TARGET),),
            )
            for store in range(DATASTORES)
        ]
        return seen.HostObservation(
            api_answer=seen.ApiAnswer.ANSWERED,
            ping=seen.Evidence.OK,
            power=seen.Power.ON if number % 2 == 0 else seen.Power.UNKNOWN,
            product="VMware ESXi",
            version="8.0.3",
            uptime=self.now + 100000.0,
            maintenance=False,
            cpu_cores=64,
            cpu_total=160000,
            cpu_free=120000,
            memory_total=1 << 20,
            memory_free=(1 << 20) - sum(_memory(item) for item in range(VMS_A_HOST)),
            sensors=tuple(seen.Sensor("fan %d" % fan, "green") for fan in range(8)),
            datastores=(*shared, seen.Datastore("local", "ds-local-%s" % name, local=True)),
            networks=NETWORKS,
            initiators=(initiator(name),),
            **common,
        )

    def _vm(self, host: int, number: int) -> seen.VmObservation:
        name = _vm_name(host, number)
        store = (host * VMS_A_HOST + number) % DATASTORES
        folder = "[shared%02d] %s/%s" % (store, name, name)
        files = (("vmx", ".vmx"), ("disk", ".vmdk"), ("disk", "_1.vmdk"), ("swap", ".vswp"))
        return seen.VmObservation(
            id=seen.vm_id("ds-%02d" % store, folder + ".vmx"),
            host=self.names[host],
            name=name,
            path=folder + ".vmx",
            taken_at=self.at(),
            power=seen.Power.ON if number % 25 else seen.Power.OFF,
            moid=str(number),
            uuid="564d%028x" % (host * VMS_A_HOST + number),
            heartbeat="green" if number % 25 else "gray",
            tools="guestToolsRunning" if number % 25 else "guestToolsNotRunning",
            memory=_memory(number),
            cpu=1 + number % 4,
            cpu_reserved=100 if number % 10 == 0 else 0,
            hardware_version="vmx-19",
            guest="debian12_64Guest",
            io_idle=None if number % 25 else 0.0,
            backings=tuple(seen.Backing(folder + ending, kind, "shared%02d" % store, "ds-%02d" % store) for kind, ending in files),
            networks=(NETWORKS[number % len(NETWORKS)],),
        )

    def _storage(self, name: str) -> seen.StorageObservation:
        mine = [target(number) for number in range(len(SERVERS) * TARGETS_A_SERVER) if SERVERS[number % len(SERVERS)] == name]
        admitted = tuple(initiator(host) for host in self.names if host not in self.fenced)
        luns = tuple(range(DATASTORES_A_TARGET))
        return seen.StorageObservation(
            name,
            self.at(),
            driver="tgt",
            serving=True,
            up_for=self.now + 1000000.0,
            sessions=tuple(
                seen.Session(
                    initiator(host),
                    iqn,
                    "s1",
                    "10.0.0.1",
                    commands_done=self._counter(host),
                    bytes_done=512 * self._counter(host),
                    in_flight=0,
                )
                for iqn in mine
                for host in self.names
                if host not in self.fenced
            ),
            access=tuple(seen.TargetAccess(iqn, admitted, luns=luns) for iqn in mine),
            fences=tuple(seen.Fence(host, initiator(host), 7, self.at(), confirmed=True) for host in sorted(self.fenced)),
            highest_token=7,
        )

    def _counter(self, host: str) -> int:
        """A dead host's session stays listed at the target, without progress."""
        return 1000 if host in self.dead else 1000 + int(self.now)


def _vm_name(host: int, number: int) -> str:
    return "vm%04d-%03d" % (host, number)


def _memory(number: int) -> int:
    return 1024 << number % 3
