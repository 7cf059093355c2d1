# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The policy's placement rules, resolved to VM ids: which ones a place breaks, and what it costs in preferences.

A required rule forbids places. It is judged for each VM against where the *other* VMs are: a VM that is nowhere
(down, or not placed yet) neither breaks a rule nor makes another one break it. A preferred rule, and the order among
the hosts of a host affinity, only cost: 0 for the best place, one more for each step down in a rule's order of hosts
and for each VM that is on the wrong side of a preferred VM affinity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class HostRule:
    """A host affinity: ``steps`` is each listed host's distance from the most preferred ones, ``elsewhere`` that of all others."""

    name: str
    steps: Mapping[str, int]
    required: bool

    @property
    def elsewhere(self) -> int:
        return 1 + max(self.steps.values(), default=-1)

    def text(self) -> str:
        return "rule %s allows only %s" % (self.name, ", ".join(sorted(self.steps)))


@dataclass(frozen=True)
class Group:
    """A VM affinity: ``members`` are ids of VMs that belong on one host (``together``) or each on another."""

    name: str
    members: tuple[str, ...]
    together: bool
    required: bool


@dataclass(frozen=True)
class Rules:
    """``where`` in its functions maps the ids of all VMs that run, or are planned, to their hosts."""

    hosts: Mapping[str, tuple[HostRule, ...]] = field(default_factory=dict)  # by VM id
    groups: Mapping[str, tuple[Group, ...]] = field(default_factory=dict)  # by VM id
    names: Mapping[str, str] = field(default_factory=dict)  # of VMs in groups

    def __bool__(self) -> bool:
        return bool(self.hosts or self.groups)

    def concerns(self, vm: str) -> bool:
        return vm in self.hosts or vm in self.groups

    def host_violation(self, vm: str, host: str) -> str:
        """The required host affinity that *vm* on *host* breaks, in words; empty: none."""
        for rule in self.hosts.get(vm, ()):
            if rule.required and host not in rule.steps:
                return rule.text()
        return ""

    def violation(self, vm: str, host: str, where: Mapping[str, str]) -> str:
        """The first required rule that *vm* on *host* breaks, in words that follow "esx2: "; empty: none."""
        return self.host_violation(vm, host) or self.group_violation(vm, host, where)

    def group_violation(self, vm: str, host: str, where: Mapping[str, str]) -> str:
        for group in self.groups.get(vm, ()):
            if not group.required:
                continue
            for other in group.members:
                at = where.get(other, "")
                if other == vm or not at:
                    continue
                if group.together and at != host:
                    return "rule %s keeps it with %s on %s" % (group.name, self.names[other], at)
                if not group.together and at == host:
                    return "rule %s keeps it from %s" % (group.name, self.names[other])
        return ""

    def conflicts(self, vm: str, host: str, where: Mapping[str, str]) -> int:
        """How many required rules, or pairs of VMs in one, *vm* on *host* breaks: a move may repair one of several."""
        count = sum(1 for rule in self.hosts.get(vm, ()) if rule.required and host not in rule.steps)
        return count + sum(_wrong(group, vm, host, where) for group in self.groups.get(vm, ()) if group.required)

    def preference(self, vm: str, host: str, where: Mapping[str, str]) -> int:
        """What *vm* on *host* costs in preferences; 0 is best."""
        count = self.host_preference(vm, host)
        return count + sum(_wrong(group, vm, host, where) for group in self.groups.get(vm, ()) if not group.required)

    def host_preference(self, vm: str, host: str) -> int:
        return sum(rule.steps.get(host, rule.elsewhere) for rule in self.hosts.get(vm, ()))

    def kept_together(self, vm: str) -> frozenset[str]:
        """The VMs that required rules keep on one host with *vm*, directly or through others; without itself."""
        found, to_follow = {vm}, [vm]
        while to_follow:
            for group in self.groups.get(to_follow.pop(), ()):
                if group.required and group.together:
                    to_follow += [other for other in group.members if other not in found]
                    found.update(group.members)
        return frozenset(found - {vm})

    def broken(self, where: Mapping[str, str]) -> list[tuple[str, str]]:
        """Every VM that breaks a required rule where it is, with the text, in the order of the ids."""
        found = []
        for vm in sorted({*self.hosts, *self.groups}):
            if where.get(vm):
                text = self.violation(vm, where[vm], where)
                if text:
                    found.append((vm, text))
        return found


NO_RULES = Rules()


def _wrong(group: Group, vm: str, host: str, where: Mapping[str, str]) -> int:
    others = [where.get(other, "") for other in group.members if other != vm]
    return sum(1 for at in others if at and (at != host) == group.together)
