# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The policy's placement rules, resolved to VM ids (decide/rules.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Union

from ..memory import VmRecord
from ..policy import HostAffinity, Policy, VmAffinity
from ..rules import NO_RULES, Group, HostRule, Rules


def compile_rules(policy: Policy, vms: Iterable[VmRecord]) -> Rules:
    """Resolve the rules' VM names and ids; a name that several VMs bear means all of them, an unknown one none."""
    if not policy.rules:
        return NO_RULES
    named = {text for rule in policy.rules for text in rule.vms}
    ids: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for vm in vms:
        if vm.name in named or vm.id in named:
            for text in {vm.id, vm.name} & named:
                ids.setdefault(text, []).append(vm.id)
            names[vm.id] = vm.name
    hosts: dict[str, list[HostRule]] = {}
    groups: dict[str, list[Group]] = {}
    for rule in policy.rules:
        members = tuple(sorted({identity for text in rule.vms for identity in ids.get(text, ())}))
        if isinstance(rule, HostAffinity):
            host_rule = HostRule(rule_name(rule), _steps(rule.hosts), rule.required)
            for identity in members:
                hosts.setdefault(identity, []).append(host_rule)
        elif len(members) > 1:
            group = Group(rule_name(rule), members, rule.together, rule.required)
            for identity in members:
                groups.setdefault(identity, []).append(group)
    return Rules(
        {identity: tuple(found) for identity, found in hosts.items()},
        {identity: tuple(found) for identity, found in groups.items()},
        names,
    )


def rule_name(rule: Union[HostAffinity, VmAffinity]) -> str:
    """Its name, or what it says: "web1, web2 apart"."""
    if rule.name:
        return rule.name
    vms = ", ".join(rule.vms[:3]) + (" and %d more" % (len(rule.vms) - 3) if len(rule.vms) > 3 else "")
    if isinstance(rule, VmAffinity):
        return "'%s %s'" % (vms, "together" if rule.together else "apart")
    return "'%s on %s'" % (vms, ", ".join(sorted(rule.hosts)))


def _steps(hosts: Mapping[str, int]) -> dict[str, int]:
    order = sorted(set(hosts.values()), reverse=True)
    return {host: order.index(number) for host, number in hosts.items()}
