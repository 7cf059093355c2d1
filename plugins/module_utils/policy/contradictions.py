# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What no option can say by itself: options that contradict each other, names that must exist, names that must differ.

VMs are compared by the text that names them in the policy; whether a VM of that name exists is not known when the policy is read.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from ..decide.placement.rules import rule_name
from ..decide.policy import HostAffinity, Policy, Rule, StorageHealthOptions, VmAffinity


def contradictions(policy: Policy) -> Iterator[str]:
    """Each in a line that begins with its place in the policy and says what to change."""
    yield from _same_initiator(policy)
    yield from _unknown_hosts(policy)
    for text in _rules_against_each_other([rule for rule in policy.rules if rule.required]):
        yield "rules: %s" % text
    for text in _thresholds(policy.storage_health):
        yield "storage_health.%s" % text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return "; did you mean %s?" % close[0] if close else ""


def _same_initiator(policy: Policy) -> Iterator[str]:
    owners: dict[str, list[str]] = {}
    for name, host in policy.hosts.items():
        if host.initiator:
            owners.setdefault(host.initiator.lower(), []).append(name)
    for initiator, names in sorted(owners.items()):
        if len(names) > 1:
            text = "hosts: %s have the same initiator %s; give each host its own, a fence could not tell them apart"
            yield text % (" and ".join(sorted(names)), initiator)


def _unknown_hosts(policy: Policy) -> Iterator[str]:
    """Only where the hosts are known: what they are comes from the inventory."""
    if not policy.hosts:
        return
    for index, name in enumerate(policy.allow_unstopped_source):
        if name not in policy.hosts:
            yield "allow_unstopped_source[%d]: there is no host %s%s" % (index, name, did_you_mean(name, policy.hosts))
    for rule in policy.rules:
        unknown = sorted(set(rule.hosts) - set(policy.hosts)) if isinstance(rule, HostAffinity) else []
        if unknown:
            text = "rules: rule %s: there is no host %s; the hosts are %s"
            yield text % (rule_name(rule), ", ".join(unknown), ", ".join(sorted(policy.hosts)))


def _thresholds(options: StorageHealthOptions) -> Iterator[str]:
    for what in ("space", "metadata", "wear"):
        warning, critical = getattr(options, what + "_warning"), getattr(options, what + "_critical")
        if warning >= critical:
            text = "%s_warning: %g is not below %s_critical, %g; warn earlier, or raise %s_critical"
            yield text % (what, warning, what, critical, what)
    lowest = min(options.space_warning, options.metadata_warning)
    if options.hysteresis >= lowest:
        yield "hysteresis: %g is not below the lowest warning, %g; an alarm would never end" % (options.hysteresis, lowest)


def _rules_against_each_other(required: Sequence[Rule]) -> Iterator[str]:
    """Required rules that cannot be kept together, whatever the hosts have left."""
    together = [rule for rule in required if isinstance(rule, VmAffinity) and rule.together]
    unit_of = _units(together)
    for rule in required:
        if isinstance(rule, VmAffinity) and not rule.together:
            for one, other in combinations(sorted(set(rule.vms)), 2):
                if unit_of.get(one, one) == unit_of.get(other, other):
                    by = [item for item in together if unit_of[item.vms[0]] == unit_of[one]]
                    text = "rule %s keeps %s and %s apart, but %s keeps them together; make one of them preferred (required: false)"
                    yield text % (rule_name(rule), one, other, _named(by))
                    break
    yield from _no_host_left([rule for rule in required if isinstance(rule, HostAffinity)], unit_of)


def _no_host_left(required: Sequence[HostAffinity], unit_of: Mapping[str, str]) -> Iterator[str]:
    """VMs, or groups that must be together, whose required host affinities have no host in common."""
    by: dict[str, list[HostAffinity]] = {}
    vms: dict[str, list[str]] = {}
    for rule in required:
        for vm in rule.vms:
            unit = unit_of.get(vm, vm)
            if rule not in by.setdefault(unit, []):
                by[unit].append(rule)
            if vm not in vms.setdefault(unit, []):
                vms[unit].append(vm)
    for unit, rules in sorted(by.items()):
        if not set.intersection(*(set(rule.hosts) for rule in rules)):
            which = " and ".join(vms[unit]) + (", which must be together" if len(vms[unit]) > 1 else "")
            yield "%s leave%s no host for %s; let them have a host in common" % (_named(rules), "s" if len(rules) == 1 else "", which)


def _units(together: Iterable[VmAffinity]) -> dict[str, str]:
    """VM -> the representative of all VMs that must be on its host, also by way of others."""
    unit_of: dict[str, str] = {}
    for rule in together:
        old = {unit_of.get(vm, vm) for vm in rule.vms}
        new = min(old)
        for vm in rule.vms:
            unit_of.setdefault(vm, vm)
        for vm, unit in unit_of.items():
            if unit in old:
                unit_of[vm] = new
    return unit_of


def _named(rules: Iterable[Rule]) -> str:
    names = [rule_name(rule) for rule in rules]
    return "rule%s %s" % ("" if len(names) == 1 else "s", " and ".join(names))
