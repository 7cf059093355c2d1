# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules that cannot be kept whatever the hosts have left, told when the policy is read.

VMs are compared by the text that names them in the policy; whether a VM of that name exists is not known then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..options import HostAffinity, VmAffinity
from ..policy import Policy
from .rules import rule_name


def contradictions(policy: Policy) -> list[str]:
    """Each contradiction in a line that names the rules and says what to change."""
    errors = []
    for rule in policy.rules:
        if isinstance(rule, HostAffinity) and policy.hosts:
            unknown = sorted(set(rule.hosts) - set(policy.hosts))
            if unknown:
                text = "rule %s: there is no host %s; the hosts are %s"
                errors.append(text % (rule_name(rule), ", ".join(unknown), ", ".join(sorted(policy.hosts))))
    required = [rule for rule in policy.rules if rule.required]
    together = [rule for rule in required if isinstance(rule, VmAffinity) and rule.together]
    unit_of = _units(together)
    for rule in required:
        if isinstance(rule, VmAffinity) and not rule.together:
            for one, other in _pairs(sorted(set(rule.vms))):
                if unit_of.get(one, one) == unit_of.get(other, other):
                    by = [item for item in together if unit_of[item.vms[0]] == unit_of[one]]
                    text = "rule %s keeps %s and %s apart, but %s keeps them together; make one of them preferred (required: false)"
                    errors.append(text % (rule_name(rule), one, other, _named(by)))
                    break
    errors += _no_host_left(required, unit_of)
    return errors


def _no_host_left(required: Sequence[object], unit_of: dict[str, str]) -> list[str]:
    """VMs, or groups that must be together, whose required host affinities have no host in common."""
    left: dict[str, set[str]] = {}
    by: dict[str, list[HostAffinity]] = {}
    vms: dict[str, list[str]] = {}
    for rule in required:
        if not isinstance(rule, HostAffinity):
            continue
        for vm in rule.vms:
            unit = unit_of.get(vm, vm)
            left[unit] = left[unit] & set(rule.hosts) if unit in left else set(rule.hosts)
            if rule not in by.setdefault(unit, []):
                by[unit].append(rule)
            if vm not in vms.setdefault(unit, []):
                vms[unit].append(vm)
    text = "%s leave%s no host for %s%s; let them have a host in common"
    return [
        text
        % (
            _named(by[unit]),
            "s" if len(by[unit]) == 1 else "",
            " and ".join(vms[unit]),
            ", which must be together" if len(vms[unit]) > 1 else "",
        )
        for unit, hosts in sorted(left.items())
        if not hosts
    ]


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


def _pairs(names: Sequence[str]) -> Iterable[tuple[str, str]]:
    return ((one, other) for index, one in enumerate(names) for other in names[index + 1 :])


def _named(rules: Iterable[HostAffinity | VmAffinity]) -> str:
    names = [rule_name(rule) for rule in rules]
    return "rule%s %s" % ("" if len(names) == 1 else "s", " and ".join(names))
