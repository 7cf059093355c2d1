# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Random placement problems: 5 to 60 VMs for 2 to 12 hosts that are nearly or quite full, with and without rules."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import VmRecord
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Backing
from ansible_collections.libreha.vmware.plugins.module_utils.decide.options import HostAffinity, VmAffinity
from ansible_collections.libreha.vmware.plugins.module_utils.decide.placement.place import Room, Wish
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy, Priority

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
    dice = random.Random(seed)
    hosts = ["esx%02d" % number for number in range(1, dice.randint(2, 12) + 1)]
    number = dice.randint(5, 60)
    sizes = dice.choice(("powers", "steps", "any"))
    priorities = dice.sample(PRIORITIES, dice.randint(1, 5))
    cpu_share = dice.choice((0.0, 0.3, 1.0))  # of the VMs reserve CPU
    lost = []
    for index in range(number):
        memory = {
            "powers": dice.choice((512, 1024, 2048, 4096, 8192)),
            "steps": 256 * dice.randint(1, 32),
            "any": dice.randint(300, 9000),
        }[sizes]
        cpu = dice.randint(100, 3000) if dice.random() < cpu_share else 0
        lost.append(vm("vm%02d" % index, "lost", memory, cpu, dice.choice(("ds0", "ds0", "ds0", "ds1"))))
    rooms = _rooms(dice, hosts, sum(item.memory for item in lost), sum(item.cpu_reserved for item in lost))
    running = [vm("run%02d" % index, dice.choice(hosts), 1024, 0) for index in range(dice.randint(0, 2 * len(hosts)))]
    vms = (*lost, *running)
    rules = _rules(dice, [item.name for item in vms], hosts) if dice.random() < 0.7 else ()
    wishes = tuple(Wish(item, dice.choice(priorities), True) for item in lost)
    return Instance(seed, wishes, rooms, Policy(rules=rules), vms, {item.id: item.host for item in running})


def _rooms(dice: random.Random, hosts: list[str], memory: int, cpu: int) -> dict[str, Room]:
    """Hosts whose free room together is 0.85 to 1.6 times what the VMs need."""
    slack, cpu_slack = dice.uniform(0.85, 1.6), dice.uniform(0.9, 2.5)
    alike = dice.random() < 0.4
    shares = [1.0 if alike else dice.uniform(0.4, 1.6) for _host in hosts]
    rooms = {}
    for host, share in zip(hosts, shares):
        part = share / sum(shares)
        free, cpu_free = int(memory * slack * part), int(max(cpu * cpu_slack, 2000) * part)
        used, cpu_used = (0.2, 0.2) if alike else (dice.uniform(0.0, 0.5), dice.uniform(0.0, 0.5))
        stores = ["ds0", "ds1"] if dice.random() < 0.85 else ["ds0"]
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


def _rules(dice: random.Random, names: list[str], hosts: list[str]) -> tuple[HostAffinity | VmAffinity, ...]:
    rules: list[HostAffinity | VmAffinity] = []
    for index in range(dice.randint(1, 8)):
        required, name = dice.random() < 0.6, "rule%d" % index
        if dice.random() < 0.4:
            chosen = dice.sample(hosts, dice.randint(1, len(hosts)))
            vms = tuple(dice.sample(names, dice.randint(1, 4)))
            rules.append(HostAffinity(vms, {host: dice.randint(0, 2) for host in chosen}, required, name))
        else:
            together = dice.random() < 0.4
            vms = tuple(dice.sample(names, dice.randint(2, 3 if together else 5)))
            rules.append(VmAffinity(vms, together, required, name))
    return tuple(rules)
