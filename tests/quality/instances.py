# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Random placement problems: 5 to 60 VMs for 2 to 12 hosts that are nearly or quite full, with and without rules."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import VmRecord
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Backing
from ansible_collections.libreha.vmware.plugins.module_utils.decide.placement.place import Room, Wish
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import HostAffinity, Policy, Priority, VmAffinity

PRIORITIES = list(Priority)[:5]


@dataclass(frozen=True)
class Instance:
    seed: int
    wishes: tuple[Wish, ...]
    rooms: dict[str, Room]
    policy: Policy
    vms: tuple[VmRecord, ...]  # the wished ones and those that run
    running: dict[str, str]


def vm(name: str, host: str, memory: int, cpu_reserved: int, datastore: str = "ds0") -> VmRecord:
    path = "%s/%s.vmx" % (name, name)
    files = (Backing("[%s] %s" % (datastore, path), "vmx", datastore, datastore),)
    identity = "%s:%s" % (datastore, path)
    return VmRecord(identity, name, files[0].path, host, memory=memory, cpu_reserved=cpu_reserved, files=files)


def instance(seed: int) -> Instance:
    """The same seed is the same instance."""
    rng = random.Random(seed)
    hosts = ["esx%02d" % number for number in range(1, rng.randint(2, 12) + 1)]
    number = rng.randint(5, 60)
    sizes = rng.choice(("powers", "steps", "any"))
    priorities = rng.sample(PRIORITIES, rng.randint(1, 5))
    cpu_share = rng.choice((0.0, 0.3, 1.0))  # of the VMs reserve CPU
    lost = []
    for index in range(number):
        memory = {
            "powers": rng.choice((512, 1024, 2048, 4096, 8192)),
            "steps": 256 * rng.randint(1, 32),
            "any": rng.randint(300, 9000),
        }[sizes]
        cpu = rng.randint(100, 3000) if rng.random() < cpu_share else 0
        lost.append(vm("vm%02d" % index, "lost", memory, cpu, rng.choice(("ds0", "ds0", "ds0", "ds1"))))
    rooms = _rooms(rng, hosts, sum(item.memory for item in lost), sum(item.cpu_reserved for item in lost))
    running = [vm("run%02d" % index, rng.choice(hosts), 1024, 0) for index in range(rng.randint(0, 2 * len(hosts)))]
    vms = (*lost, *running)
    rules = _rules(rng, [item.name for item in vms], hosts) if rng.random() < 0.7 else ()
    wishes = tuple(Wish(item, rng.choice(priorities), True) for item in lost)
    return Instance(seed, wishes, rooms, Policy(rules=rules), vms, {item.id: item.host for item in running})


def _rooms(rng: random.Random, hosts: list[str], memory: int, cpu: int) -> dict[str, Room]:
    """Hosts whose free room together is 0.85 to 1.6 times what the VMs need."""
    slack, cpu_slack = rng.uniform(0.85, 1.6), rng.uniform(0.9, 2.5)
    alike = rng.random() < 0.4
    shares = [1.0 if alike else rng.uniform(0.4, 1.6) for _host in hosts]
    rooms = {}
    for host, share in zip(hosts, shares):
        part = share / sum(shares)
        free, cpu_free = int(memory * slack * part), int(max(cpu * cpu_slack, 2000) * part)
        used, cpu_used = (0.2, 0.2) if alike else (rng.uniform(0.0, 0.5), rng.uniform(0.0, 0.5))
        stores = ["ds0", "ds1"] if rng.random() < 0.85 else ["ds0"]
        rooms[host] = Room(
            host,
            memory=free,
            memory_total=int(free / (1 - used)) + 1,
            cpu=cpu_free,
            cpu_total=int(cpu_free / (1 - cpu_used)) + 1,
            cores=64,
            datastores={store: store for store in stores},
        )
    return rooms


def _rules(rng: random.Random, names: list[str], hosts: list[str]) -> tuple[HostAffinity | VmAffinity, ...]:
    rules: list[HostAffinity | VmAffinity] = []
    for index in range(rng.randint(1, 8)):
        required, name = rng.random() < 0.6, "rule%d" % index
        if rng.random() < 0.4:
            chosen = rng.sample(hosts, rng.randint(1, len(hosts)))
            vms = tuple(rng.sample(names, rng.randint(1, 4)))
            rules.append(HostAffinity(vms, {host: rng.randint(0, 2) for host in chosen}, required, name))
        else:
            together = rng.random() < 0.4
            vms = tuple(rng.sample(names, rng.randint(2, 3 if together else 5)))
            rules.append(VmAffinity(vms, together, required, name))
    return tuple(rules)
