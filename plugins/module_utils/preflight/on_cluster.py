# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Findings about the cluster as a whole: what the monitor's own decision on one look says, sorted by what an operator checks.

Nothing is judged here a second time. Each alarm of that decision becomes a finding of its check; a check without one is ok, unless
what it rests on was not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..decide.decision import Alarm, Decision, Severity
from ..decide.observations import Observation, Power
from .finding import Finding, Level


@dataclass(frozen=True)
class Check:
    """``alarms`` are the first parts of the keys of the alarms that belong to it; ``ok`` is what is so without one."""

    name: str
    alarms: tuple[str, ...]
    ok: str
    remedy: str
    needs_hosts: bool = True  # it rests on every host's own word
    needs_storage: bool = False


CHECKS = (
    Check(
        "storage",
        ("storage", "anybody"),
        "every storage server serves, in a version that can be fenced with",
        "mend the storage server first, then run libreha.vmware.site; the role iscsi_target builds it",
        needs_hosts=False,
        needs_storage=True,
    ),
    Check(
        "initiators",
        ("initiator_spelling",),
        "each host has an initiator name of its own, as the policy says",
        "write libreha_initiator as the host itself spells it",
        needs_storage=True,
    ),
    Check(
        "fencing",
        ("unfenceable",),
        "a fence of each host means something",
        "correct libreha_initiator of the host, and admit each host at the target by its own name only",
        needs_storage=True,
    ),
    Check(
        "protection",
        ("unprotected", "vm_inaccessible"),
        "every VM lies on storage that is fenced, or is left out on purpose",
        "move its files to a datastore on the cluster's targets, or leave it out by protection: unprotected",
        needs_storage=True,
    ),
    Check(
        "obstacles",
        ("tied", "disk_attached"),
        "every protected VM has another host that can run it",
        "docs/obstacles.md has what to do about each kind",
    ),
    Check(
        "bmc",
        ("wrong_bmc", "proves_no_off"),
        "no BMC is another machine's",
        "correct libreha_bmc, and prove it: libreha.vmware.fence_test",
    ),
    Check(
        "admission",
        ("admission",),
        "the cluster can lose what the policy wants it to be able to lose",
        "free or add memory, or ask libreha.vmware.drill which VM lacks what on which host",
    ),
    Check(
        "policy_names",
        ("no_such_vm", "no_such_host", "no_such_sensor"),
        "every name in the policy is borne by something",
        "correct the name in libreha_policy, or remove it",
    ),
    Check(
        "vm_names",
        ("same_name",),
        "no two protected VMs have one name",
        "rename one of them at its host",
    ),
)
LEVELS = {Severity.INFO: Level.INFO, Severity.WARNING: Level.WARNING, Severity.CRITICAL: Level.CRITICAL}
# Of the API's reach there are findings already; what only a second look can tell is no finding of a first one.
SAID_ELSEWHERE = (
    "operator",
    "not_asked",
    "name_service",
    "own_network",
    "not_observed",
    "observer_isolated",
    "no_storage_evidence",
    "stale",
    "event_gap",
)


def of_decision(decision: Decision, observation: Observation) -> Iterator[Finding]:
    unread = [host.name for host in observation.hosts if not observation.was_read(host.name)]
    unasked = [server.name for server in observation.storage if server.serving is None]
    for check in CHECKS:
        found = [alarm for alarm in decision.alarms if _kind(alarm) in check.alarms]
        yield from (_finding(check.name, alarm, check.remedy) for alarm in found)
        missing = (unread if check.needs_hosts else []) + (unasked if check.needs_storage else [])
        if missing:
            text = "not known as a whole: %s could not be read" % ", ".join(missing)
            yield Finding(check.name, "cluster", Level.UNKNOWN, text, "mend that, and run preflight again")
        elif not found:
            yield Finding(check.name, "cluster", Level.OK, _admitted(decision) if check.name == "admission" else check.ok)
    known = {kind for check in CHECKS for kind in check.alarms}
    for alarm in decision.alarms:
        if _kind(alarm) not in known and _kind(alarm) not in SAID_ELSEWHERE:
            yield _finding("alarms", alarm, "do what the alarm says; libreha.vmware.monitor shows it until it is mended")


def power_fencing(observation: Observation) -> Iterator[Finding]:
    for host in observation.hosts:
        if not host.has_bmc:
            text = (
                "it has no power fencing: when it cannot be reached, its VMs may execute on while they start elsewhere (network duplicate)"
            )
            yield Finding(
                "power_fencing", host.name, Level.WARNING, text, "give it a BMC or a switched outlet (libreha_bmc, docs/power-fencing.md)"
            )
        elif host.power is Power.UNKNOWN:
            text = "not known: %s" % (host.power_reason or "its BMC does not tell its power")
            yield Finding("power_fencing", host.name, Level.UNKNOWN, text, "correct libreha_bmc and prove it: libreha.vmware.fence_test")
        elif host.proves_no_off:  # there is an alarm about it
            continue
        elif not any(machine.uuid or machine.serial for machine in host.behind_bmc):
            text = "its power is %s; whose machine it is the device does not tell" % host.power.value
            yield Finding("power_fencing", host.name, Level.INFO, text, "prove once that it switches this host: libreha.vmware.fence_test")
        else:
            yield Finding(
                "power_fencing", host.name, Level.OK, "its power is %s, by a device that says it belongs to this host" % host.power.value
            )


def _admitted(decision: Decision) -> str:
    state = decision.admission
    return "%s; %d host(s) may fail" % (state.text, state.tolerates) if state is not None else ""


def _finding(check: str, alarm: Alarm, remedy: str) -> Finding:
    return Finding(check, alarm.subject, LEVELS[alarm.severity], alarm.text, remedy)


def _kind(alarm: Alarm) -> str:
    return alarm.key.partition(":")[0]
