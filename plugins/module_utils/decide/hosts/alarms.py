# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the operator should hear although nothing is done about it: each alarm says what is wrong and what to do."""

from __future__ import annotations

from ..answers import ApiAnswer, Evidence
from ..decision import Alarm, Severity
from ..memory import Desired
from ..observations import Power, same_initiator
from ..state import Cluster, HostState, leads_to_fence
from ..verdict import Verdict
from .cold_start import about_awaited
from .duplicates import about_duplicates
from .shutdown import about_shutdown, goes_down_in_order

OPERATOR_ERRORS = {
    ApiAnswer.LOGIN_REFUSED: "refuses the login; correct its user name or password",
    ApiAnswer.CERTIFICATE_REFUSED: "shows a certificate that is not accepted; install its CA or renew the certificate",
    ApiAnswer.LICENCE_REFUSED: "refuses the call for its licence",
}

# What the observer could not ask: the alarm's key, its severity, and its text about the hosts, with the reason at the first of them.
OBSERVER_ERRORS = {
    ApiAnswer.NAME_NOT_RESOLVED: (
        "name_service",
        Severity.CRITICAL,
        "this machine cannot resolve the names of %s, they are not asked (%s); repair its name service, or use addresses as ansible_host",
    ),
    ApiAnswer.NO_ROUTE: (
        "own_network",
        Severity.CRITICAL,
        "this machine's own network has no way to %s, so it cannot ask them (%s); check its routes, addresses and firewall",
    ),
    ApiAnswer.NOT_ASKED: ("not_asked", Severity.WARNING, "%s could not be asked, and nothing is concluded from their silence (%s)"),
}


def raise_alarms(cluster: Cluster) -> list[Alarm]:
    """The alarms about hosts, storage servers and protection as such."""
    found: list[Alarm] = []
    if cluster.observer_isolated and not cluster.awaited >= {host.name for host in cluster.hosts.values() if not host.is_fenced}:
        text = "no isolation address and no unfenced host answers: the observer itself is cut off; everything is held"
        found.append(Alarm("observer_isolated", Severity.CRITICAL, "cluster", text))
    found += _about_looks(cluster)
    if cluster.shutdown is None:
        found += about_awaited(cluster.awaited, cluster.policy, cluster.now)
    found += about_shutdown(cluster.shutdown, cluster.awaited, cluster.policy, cluster.now)
    found += _about_the_observer(cluster)
    found += _about_storage(cluster)
    for host in cluster.hosts.values():
        found += _about_host(host, cluster)
        found += _about_spelling(host, cluster)
        found += about_duplicates(host, {vm.id: vm.name for vm in cluster.vms} if host.record.doubtful else {})
    for vm in [vm for vm in cluster.vms if vm.tries.blocked and vm.desired is Desired.STARTED]:
        found.append(Alarm("start_blocked:%s" % vm.id, Severity.CRITICAL, vm.name, "%s did not start on %s" % (vm.name, vm.tries.blocked)))
    for gap in cluster.observation.event_gaps:
        text = "%s; whether somebody switched a VM off there may not be known" % gap.reason
        found.append(Alarm("event_gap:%s" % gap.host, Severity.WARNING, gap.host, text))
    for vm in [vm for vm in cluster.vms if vm.id in cluster.unprotected]:
        why = cluster.unprotected[vm.id]
        if not why.chosen:
            found.append(Alarm("unprotected:%s" % vm.id, Severity.WARNING, vm.name, "%s cannot be failed over: %s" % (vm.name, why.reason)))
    return found


def _about_looks(cluster: Cluster) -> list[Alarm]:
    """A look that takes longer than ``io_stale`` is old before it is judged. Equal counters still prove silence across any gap, but API and
    ping do not over ``confirm_after`` (docs/safety.md, "Timers"): without this alarm that would look like a cluster at rest."""
    took = cluster.now.since(cluster.observation.taken_at)
    if took is None or took <= cluster.policy.io_stale:
        return []
    text = (
        "one look took %.0f s, longer than io_stale (%.0f s): a host that dies is found late, and never while looks take longer than "
        "confirm_after (%.0f s); set io_stale well above that, and confirm_after above io_stale, or give the arbiter a faster machine"
    )
    return [Alarm("slow_looks", Severity.WARNING, "cluster", text % (took, cluster.policy.io_stale, cluster.policy.confirm_after))]


def _about_the_observer(cluster: Cluster) -> list[Alarm]:
    """One alarm for each thing that the observer lacks, whichever hosts it keeps it from asking."""
    found = []
    for answer, (key, severity, text) in OBSERVER_ERRORS.items():
        seen = [host.seen for host in cluster.hosts.values() if host.seen is not None and host.seen.api_answer is answer]
        if seen:
            names = ", ".join(host.name for host in seen)
            found.append(Alarm(key, severity, "cluster", text % (names, seen[0].api_reason or "no reason given")))
    return found


def _about_storage(cluster: Cluster) -> list[Alarm]:
    found = []
    seen = {server.name: server for server in cluster.observation.storage}
    for name in cluster.servers:
        server = seen.get(name)
        if server is None or server.serving is None:
            text = "storage server %s could not be asked%s; no host can be fenced there and nothing tells who writes there"
            reason = ": " + server.reason if server is not None and server.reason else ""
            found.append(Alarm("storage:%s" % name, Severity.CRITICAL, name, text % (name, reason)))
        elif not server.serving:
            reason = ": " + server.reason if server.reason else ""
            found.append(
                Alarm("storage:%s" % name, Severity.CRITICAL, name, "storage server %s does not serve its target%s" % (name, reason))
            )
        elif server.sessions is None:
            reason = ": " + server.reason if server.reason else ""
            found.append(
                Alarm("storage:%s" % name, Severity.CRITICAL, name, "the sessions of storage server %s are unreadable%s" % (name, reason))
            )
    for record in cluster.storage:
        if record.anybody:
            text = "a fence at %s proves nothing, and nothing is failed over: %s" % (record.name, record.anybody)
            found.append(Alarm("anybody:%s" % record.name, Severity.CRITICAL, record.name, text))
    return found


def _about_spelling(host: HostState, cluster: Cluster) -> list[Alarm]:
    """iSCSI names are compared without regard to case, but tgt compares letter by letter: a host that it admits under another spelling than
    the host's own does not get in at its next login."""
    initiator = cluster.policy.host(host.name).initiator
    own = [name for name in host.record.initiators if same_initiator(name, initiator)]
    found = []
    for server in cluster.observation.storage if own else ():
        names = {name for access in server.access for name in access.initiators if same_initiator(name, initiator)}
        if server.driver == "tgt" and names and not names.issuperset(own):
            text = (
                "%s logs in as %s, and tgt on %s admits %s: it compares letter by letter, so the host does not get in at its next login. "
                "Spell it there as the host does"
            )
            words = text % (host.name, ", ".join(own), server.name, ", ".join(sorted(names)))
            found.append(Alarm("initiator_spelling:%s:%s" % (host.name, server.name), Severity.WARNING, host.name, words))
    if own and initiator not in own and not found:
        words = "the policy spells the initiator of %s %s, the host itself %s; write it as the host does" % (
            host.name,
            initiator,
            ", ".join(own),
        )
        found.append(Alarm("initiator_spelling:%s" % host.name, Severity.INFO, host.name, words))
    return found


def _about_host(host: HostState, cluster: Cluster) -> list[Alarm]:
    found: list[Alarm] = []

    def alarm(what: str, severity: Severity, text: str) -> None:
        found.append(Alarm("%s:%s" % (what, host.name), severity, host.name, text))

    if host.seen is None:
        alarm("not_observed", Severity.WARNING, "%s was not looked at" % host.name)
    elif not host.evidence.fresh:
        alarm(
            "stale",
            Severity.WARNING,
            "the observation of %s is old or was made on another machine; nothing is concluded from it" % host.name,
        )
    if host.seen is not None and host.seen.api_answer in OPERATOR_ERRORS:
        reason = " (%s)" % host.seen.api_reason if host.seen.api_reason else ""
        alarm("operator", Severity.WARNING, "%s lives but %s%s" % (host.name, OPERATOR_ERRORS[host.seen.api_answer], reason))
    if host.unfenceable:
        alarm("unfenceable", Severity.WARNING, "%s is unfenceable, its VMs are not failed over: %s" % (host.name, host.unfenceable))
    if host.wrong_bmc:
        text = "%s has no power fencing: %s; correct its libreha_bmc (address, system, plug) and prove it with fence_test"
        alarm("wrong_bmc", Severity.CRITICAL, text % (host.name, host.wrong_bmc))
    if host.seen is not None and host.seen.proves_no_off and not host.wrong_bmc:
        text = (
            "%s counts as a host without power fencing, since none of its devices can prove that it is off (%s); give it one that can, "
            "or assert by proves_power_off in libreha_bmc that its off always means no power"
        )
        alarm("proves_no_off", Severity.WARNING, text % (host.name, host.seen.proves_no_off))
    busy = [vm.name for vm in cluster.vms_on.get(host.name, ()) if vm.power is Power.ON] if cluster.policy.host(host.name).spare else []
    if busy and host.verdict.works:
        text = "%s is a spare host and runs %s, so it has less room at the next failure; move them back (migrate, or failback)"
        alarm("spare", Severity.WARNING, text % (host.name, ", ".join(sorted(busy)[:5]) + (" and others" if len(busy) > 5 else "")))
    if host.record.confirmed_off and (host.evidence.answers or host.evidence.power.value == "on"):
        alarm("word", Severity.CRITICAL, "%s was confirmed off by %s, but it shows signs of life" % (host.name, host.record.confirmed_off))
    if host.is_fenced:
        if host.fence.confirmed and host.record.removal is None:
            alarm("fenced", Severity.WARNING, "%s is fenced; %s" % (host.name, _bring_back(host)))
    elif host.verdict is Verdict.DEGRADED:
        then = "; " + _bring_back(host) if host.fence.listed else ""
        alarm("degraded", Severity.WARNING, "%s is degraded: %s%s" % (host.name, host.judgement.reason, then))
    elif host.verdict is Verdict.HEALTHY:
        being_judged = host.evidence.pending and not host.evidence.in_grace
        if host.judgement.row == 5 and not being_judged and host.evidence.fresh:
            alarm(
                "no_storage_evidence", Severity.WARNING, "%s works, but its storage gives no evidence: %s" % (host.name, host.evidence.text)
            )
    elif goes_down_in_order(host):
        pass
    elif not leads_to_fence(host.verdict, cluster.policy) and (host.confirmation.confirmed or host.judgement.row == 3):
        alarm("verdict", Severity.CRITICAL, "%s; %s" % (host.text, _what_is_done(host)))
    return found


def _bring_back(host: HostState) -> str:
    """The command that lets it in again; docs/bringing-a-host-back.md."""
    text = "repair it, restart it, and let it in again: ansible-playbook -i INVENTORY libreha.vmware.rejoin -e host=%s"
    return text % host.name


def _what_is_done(host: HostState) -> str:
    if host.verdict is Verdict.ISOLATED:
        return "its storage works, so its VMs are left running (isolation_response: leave_running)"
    if host.verdict is Verdict.AGENT_HUNG:
        return "its VMs still run and are left alone (agent_hung_response: alarm); restart its management agents"
    if host.evidence.storage is Evidence.UNKNOWN:
        return "held: %s" % host.judgement.reason
    return "held, nothing is changed: %s" % host.judgement.reason
