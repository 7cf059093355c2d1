# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names that the policy uses and nothing bears, and names that several VMs bear.

A misspelt name silently protects nothing: two VMs that must be apart land on one host. So each name that matches nothing is an
alarm - but only what was asked can be missing. A VM's name is missing only when every host of the cluster gave its list in this
very look: a host that was not asked, or is fenced, may have that VM.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..answers import ApiAnswer
from ..decision import Alarm, Severity
from ..memory import VmRecord
from ..placement.rules import rule_name
from ..policy import HostAffinity, Policy
from ..state import Cluster


def name_alarms(cluster: Cluster) -> list[Alarm]:
    """The alarms about names, in the order of their kinds."""
    return [*_missing_vms(cluster), *_missing_hosts(cluster), *_missing_sensors(cluster), *_same_names(cluster)]


def _missing_vms(cluster: Cluster) -> Iterator[Alarm]:
    named = _vms_of(cluster.policy)
    if not named or not all(cluster.leads(host) for host in cluster.hosts.values()):
        return
    known = {text for vm in cluster.vms for text in (vm.id, vm.name)}
    for name, places in sorted(named.items()):
        if name not in known:
            text = "the policy names VM %s (%s), and no host has such a VM%s; correct the name or remove it"
            yield _alarm("no_such_vm", name, text % (name, ", ".join(places), _but(name, known)))


def _vms_of(policy: Policy) -> dict[str, list[str]]:
    """Every name or id of a VM in the policy -> where it stands."""
    found: dict[str, list[str]] = {}
    for name, entry in policy.vms.items():
        _add(found, "vms", [name])
        _add(found, "vms.%s.start_after" % name, entry.start_after)
    for rule in policy.rules:
        _add(found, "rule %s" % rule_name(rule), rule.vms)
    return found


def _missing_hosts(cluster: Cluster) -> Iterator[Alarm]:
    """The inventory is known whether its hosts answer or not."""
    policy = cluster.policy
    named: dict[str, list[str]] = {}
    for rule in policy.rules:
        if isinstance(rule, HostAffinity):
            _add(named, "rule %s" % rule_name(rule), rule.hosts)
    _add(named, "admission_control.failover_hosts", policy.admission_control.failover_hosts)
    _add(named, "allow_unstopped_source", policy.allow_unstopped_source)
    for name, places in sorted(named.items()):
        if name not in cluster.hosts:
            text = "the policy names host %s (%s), and the inventory has no such host%s; correct the name or remove it"
            yield _alarm("no_such_host", name, text % (name, ", ".join(places), _but(name, cluster.hosts)))


def _missing_sensors(cluster: Cluster) -> Iterator[Alarm]:
    for host in cluster.hosts.values():
        seen = host.seen
        if seen is None or seen.api_answer is not ApiAnswer.ANSWERED or not seen.sensors:
            continue
        known = {sensor.name for sensor in seen.sensors}
        for name in host.policy.ignored_sensors:
            if name not in known:
                text = "the policy ignores sensor %s of %s, which has no such sensor%s; correct the name or remove it"
                yield Alarm(
                    "no_such_sensor:%s:%s" % (host.name, name), Severity.WARNING, host.name, text % (name, host.name, _but(name, known))
                )


def _same_names(cluster: Cluster) -> Iterator[Alarm]:
    """Two VMs of one name cannot be registered on one host (DuplicateName, vSphere Web Services API reference)."""
    named: dict[str, list[VmRecord]] = {}
    for vm in cluster.vms:
        if vm.id not in cluster.unprotected:
            named.setdefault(vm.name, []).append(vm)
    for name, vms in sorted(named.items()):
        if len(vms) > 1:
            where = ", ".join("%s on %s" % (vm.path, vm.host) for vm in vms)
            text = (
                "%d protected VMs are called %s (%s): no host takes two VMs of one name, and the policy cannot tell them apart by it; "
                "give each a name of its own. A failover registers the second one under another name"
            )
            yield _alarm("same_name", name, text % (len(vms), name, where))


def _add(found: dict[str, list[str]], place: str, names: Iterable[str]) -> None:
    for name in names:
        places = found.setdefault(name, [])
        if place not in places:
            places.append(place)


def _but(name: str, known: Iterable[str]) -> str:
    """What is called almost so: names are compared letter by letter."""
    close = sorted(other for other in known if other.strip().casefold() == name.strip().casefold())
    return " (but %s)" % " and ".join(repr(other) for other in close) if close else ""


def _alarm(what: str, name: str, text: str) -> Alarm:
    return Alarm("%s:%s" % (what, name), Severity.WARNING, name, text)
