"""Whether a VM may be where it is: required rules, capacity, networks. From the scenario and the truth alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Optional

from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import cpu_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import HostAffinity, Policy, VmAffinity

from .truth.vms import Vm
from .truth.world import World


class Legality:
    def __init__(self, world: World, policy: Policy) -> None:
        self._world = world
        names = {vm.id: name for name, vm in world.vms.items()}
        required = [rule for rule in policy.rules if rule.required]
        self._host_rules: dict[str, list[HostAffinity]] = {}
        self._vm_rules: dict[str, list[tuple[tuple[str, ...], VmAffinity]]] = {}
        for rule in required:
            members = tuple(names.get(name, name) for name in rule.vms)
            for name in members:
                if isinstance(rule, HostAffinity):
                    self._host_rules.setdefault(name, []).append(rule)
                else:
                    self._vm_rules.setdefault(name, []).append((members, rule))

    def broken_host_rule(self, vm: Vm, host: str) -> str:
        for rule in self._host_rules.get(vm.name, ()):
            if host not in rule.hosts:
                return "%s may only run on %s" % (vm.name, ", ".join(sorted(rule.hosts)))
        return ""

    def cannot_run(self, vm: Vm, host: str) -> str:
        """What *host* lacks without which *vm* does not power on there; it is bound to the devices of the host that has it."""
        offered = self._world.hosts[host].capabilities
        if vm.suspended_on and vm.suspended_on != cpu_of(offered):
            return "the CPU on which it was suspended is missing there"
        return "; ".join(item.lacks for item in vm.obstacles if item.blocks and item.needs not in offered)

    def conflicts(self, vm: Vm, host: str, places: Mapping[str, str]) -> dict[str, str]:
        """The other running VMs with which *vm* on *host* breaks a rule, and how; *places* as they count."""
        found = {}
        for members, rule in self._vm_rules.get(vm.name, ()):
            for other in members:
                place = places.get(other, "")
                if other == vm.name or not place or (place == host) is rule.together:
                    continue
                words = "must be where %s is, on %s" if rule.together else "must not be where %s is, on %s"
                found[other] = "%s %s" % (vm.name, words % (other, place))
        return found

    def exceeded(self, host: str, more: Iterable[Vm] = (), taker: Optional[Vm] = None) -> str:
        """Which capacity of *host* its VMs and *more* exceed; empty when none.

        With *taker*, which has just come there: only what it takes some of. A scenario may begin with more on a host than fits; a VM
        that takes no memory does not exceed that memory, the scenario did.
        """
        truth = self._world.hosts[host]
        memory, cores = self._world.used(host)
        memory += sum(vm.memory for vm in more)
        cores += sum(vm.cores for vm in more)
        if truth.memory is not None and memory > truth.memory and (taker is None or taker.memory):
            return "%d MiB of VMs on %d MiB" % (memory, truth.memory)
        if truth.cores is not None and cores > truth.cores and (taker is None or taker.cores):
            return "%d cores of VMs on %d" % (cores, truth.cores)
        return ""

    def could_start(self, vm: Vm, host: str, down: Iterable[Vm]) -> bool:
        """Whether *host* is legal for *vm* and has room, with those of *down* that must come with it."""
        places = self._world.places()
        together = {vm.name}
        while True:
            more = {
                member for name in together for members, rule in self._vm_rules.get(name, ()) if rule.together for member in members
            } - together
            if not more:
                break
            together |= more
        group = [vm, *(other for other in down if other.name in together and other.name != vm.name)]
        for member in group:
            if self.broken_host_rule(member, host) or self.conflicts(member, host, places):
                return False
            if not set(member.networks) <= set(self._world.hosts[host].networks):
                return False
            if member.host != host and self.cannot_run(member, host):
                return False
        if any(other is not member and other.name in self._apart(member) for member in group for other in group):
            return False
        return not self.exceeded(host, group)

    def _apart(self, vm: Vm) -> set[str]:
        return {name for members, rule in self._vm_rules.get(vm.name, ()) if not rule.together for name in members}
