# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Findings about the hosts themselves, out of what each told. Pure: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from ..decide.answers import ApiAnswer
from ..decide.observations import HostObservation, Observation
from ..hypervisor.host_survey import HostSurvey
from ..hypervisor.privileges import NEEDED_NAMES
from .certificates import Certificate
from .finding import Finding, Level

CLOCK_BOUND = 5.0  # s by which a host's clock may differ from the arbiter's
EXPIRES_SOON, EXPIRES_NOW = 30.0, 7.0  # days
LICENCE_SOON = 30 * 24  # hours
FREE_EDITIONS = ("esxbasic", "esx.hypervisor", "esxfree")
VCENTER_USER = "vpxuser"
VOLUMES = "/vmfs/volumes/"  # anything else is a RAM disk
BACKUP = re.compile(
    r"veeam|nakivo|acronis|commvault|bacula|bareos|networker|veritas|netbackup|rubrik|cohesity|altaro|hornetsecurity|vdp|backup", re.I
)


def api_reach(observation: Observation) -> Iterator[Finding]:
    for host in observation.hosts:
        if host.api_answer is ApiAnswer.ANSWERED:
            yield Finding("api", host.name, Level.OK, "%s %s answers" % (host.product, host.version))
        else:
            text = "its API was not read: %s (%s)" % (host.api_answer.value, host.api_reason or "no reason given")
            yield Finding(
                "api",
                host.name,
                Level.CRITICAL,
                text,
                "see that it runs, is reachable from the arbiter, and takes the user name and password",
            )


def unread(check: str, names: Iterable[str], why: Mapping[str, str]) -> Iterator[Finding]:
    for name in names:
        reason = why.get(name, "it could not be asked")
        yield Finding(check, name, Level.UNKNOWN, "not known: %s" % reason, "mend that, and run preflight again")


def licence(host: HostSurvey) -> Iterator[Finding]:
    if not host.licences:
        text = "not known: the host does not show its licence"
        yield Finding(
            "licence", host.name, Level.UNKNOWN, text, "give the user the privilege Global.Licenses, or look: vim-cmd vimsvc/license --show"
        )
        return
    for one in host.licences:
        if one.edition.lower().startswith(FREE_EDITIONS) or "hypervisor" in one.name.lower():
            text = "%s: its API only reads, so no VM can be started there by it" % (one.name or one.edition)
            yield Finding("licence", host.name, Level.CRITICAL, text, "assign a licence whose API can write (vSphere Essentials or higher)")
        elif one.expires_in is not None and one.expires_in < LICENCE_SOON:
            level = Level.CRITICAL if one.expires_in <= 0 else Level.WARNING
            text = "%s ends in %d days; powered-off VMs cannot be started after that" % (one.name or one.edition, one.expires_in // 24)
            yield Finding("licence", host.name, level, text, "assign a licence that lasts")
        elif one.edition.lower() == "eval" and one.expires_in is None:
            text = "%s: when it ends is not known" % (one.name or one.edition)
            yield Finding("licence", host.name, Level.UNKNOWN, text, "assign a licence that lasts")
        else:
            yield Finding("licence", host.name, Level.OK, "%s, its API writes" % (one.name or one.edition))


def privileges(host: HostSurvey) -> Iterator[Finding]:
    if host.privileges is None:
        text = "not known: the user may not see the roles"
        yield Finding(
            "privileges", host.name, Level.UNKNOWN, text, "give it System.View and System.Read on the host, or try a drill and fence_test"
        )
        return
    missing = [name for name in NEEDED_NAMES if name not in host.privileges]
    if missing:
        text = "the user lacks %s" % ", ".join(missing)
        yield Finding("privileges", host.name, Level.CRITICAL, text, "give them: esxi_monitor_user, or by hand (docs/host-privileges.md)")
    else:
        yield Finding("privileges", host.name, Level.OK, "the user has all %d that are needed" % len(NEEDED_NAMES))


def autostart(host: HostSurvey) -> Iterator[Finding]:
    off = "switch it off: role vmware_server (vmware_server_autostart: false), or vim-cmd hostsvc/autostartmanager/enable_autostart false"
    if host.autostart is None:
        yield Finding("autostart", host.name, Level.UNKNOWN, "not known: the host does not show it", off)
    elif host.autostart:
        which = ": it would start %s" % ", ".join(host.autostart_vms) if host.autostart_vms else ""
        text = "autostart is on%s; a host that comes back must not start what runs elsewhere" % which
        yield Finding("autostart", host.name, Level.CRITICAL if host.autostart_vms else Level.WARNING, text, off)
    else:
        yield Finding("autostart", host.name, Level.OK, "off")


def clock(host: HostSurvey) -> Iterator[Finding]:
    remedy = "role vmware_server (vmware_server_ntp_servers); all hosts and the arbiter by the same servers"
    if host.clock_ahead is None:
        yield Finding("clock", host.name, Level.UNKNOWN, "not known: the host does not tell the time", remedy)
        return
    ahead = "%.1f s %s the arbiter's" % (abs(host.clock_ahead), "ahead of" if host.clock_ahead >= 0 else "behind")
    if abs(host.clock_ahead) - host.clock_error / 2 > CLOCK_BOUND:
        yield Finding(
            "clock", host.name, Level.WARNING, "its clock is %s: journals and events do not match, certificates may fail" % ahead, remedy
        )
    elif host.time_service_runs is None:
        yield Finding("clock", host.name, Level.UNKNOWN, "its clock is %s; whether it is kept so is not known" % ahead, remedy)
    elif not host.time_service_runs:
        yield Finding(
            "clock", host.name, Level.WARNING, "its clock is %s, but its time service does not run: it will drift" % ahead, remedy
        )
    else:
        yield Finding("clock", host.name, Level.OK, "%s, its time service runs" % ahead)


def scratch(host: HostSurvey) -> Iterator[Finding]:
    """Where the logs of a host that failed are afterwards (Broadcom KB 1033696)."""
    remedy = "give it a folder of its own on a datastore (ScratchConfig.ConfiguredScratchLocation), and restart the host"
    if host.scratch is None:
        yield Finding("scratch", host.name, Level.UNKNOWN, "not known: the host does not tell where its scratch folder is", remedy)
    elif not host.scratch.startswith(VOLUMES):
        text = "its scratch folder %s is in memory: a host that fails takes its logs and core dump with it" % host.scratch
        yield Finding("scratch", host.name, Level.WARNING, text, remedy + "; and send its log elsewhere (vmware_server_syslog)")
    else:
        yield Finding("scratch", host.name, Level.OK, "on a datastore: %s" % host.scratch)


def port_groups(hosts: Iterable[HostObservation]) -> Iterator[Finding]:
    seen = {host.name: set(host.networks) for host in hosts}
    everywhere: set[str] = set().union(*seen.values()) if seen else set()
    for name, networks in sorted(seen.items()):
        missing = sorted(everywhere - networks)
        if missing:
            text = "it has no port group %s, which others have: a VM that needs it does not go there" % ", ".join(missing)
            yield Finding(
                "port_groups", name, Level.WARNING, text, "add it under the same name, or keep such VMs by a rule to hosts that have it"
            )
        else:
            yield Finding("port_groups", name, Level.OK, "it has all %d of the cluster's port groups" % len(everywhere))


def cpu(surveys: Iterable[HostSurvey]) -> Iterator[Finding]:
    """Whether one host's processors have what others' have: it matters for suspended VMs and live migration, not for a fresh start."""
    known = {host.name: host.cpu_features for host in surveys if host.cpu_features is not None}
    remedy = "accept it, or keep VMs that were suspended, or are moved live, to hosts of one kind by a rule"
    for host in surveys:
        mine = known.get(host.name)
        if mine is None:
            text = "not known: the host does not list its CPU's features (%s)" % (host.cpu or "nor its model")
            yield Finding("cpu_features", host.name, Level.UNKNOWN, text, "compare the CPU models of the hosts")
            continue
        others = {key for name, features in known.items() if name != host.name for key, value in features.items() if value not in ("", "0")}
        missing = sorted(key for key in others if mine.get(key, "0") in ("", "0"))
        if missing:
            more = " and %d more" % (len(missing) - 5) if len(missing) > 5 else ""
            text = "%s lacks %s%s, which other hosts have" % (host.cpu, ", ".join(missing[:5]), more)
            yield Finding("cpu_features", host.name, Level.INFO, text, remedy)
        else:
            yield Finding("cpu_features", host.name, Level.OK, "%s has all that the others have" % host.cpu)


def certificate(name: str, found: Certificate) -> Iterator[Finding]:
    """Of the host's API."""
    fetch = "give the CA that signed it as libreha_ca_path, or the certificate itself once its fingerprint was compared: host_certificate"
    renew = "renew it: in the host's web client under Security & users, Certificates, or /sbin/generate-certificates and a restart of hostd"
    yield _certificate("certificate", name, found, fetch, renew)


def bmc_certificate(name: str, found: Certificate) -> Iterator[Finding]:
    """Of its BMC's Redfish service."""
    fetch = "give the CA that signed it as ca_path in libreha_bmc, or the certificate itself once its fingerprint was compared"
    yield _certificate("bmc_certificate", name, found, fetch, "renew it in the BMC's own web page")


def _certificate(check: str, name: str, found: Certificate, fetch: str, renew: str) -> Finding:
    if found.days_left is not None and found.days_left <= 0:
        return Finding(check, name, Level.CRITICAL, "its certificate has expired", renew)
    if found.problem:
        return Finding(check, name, Level.CRITICAL if found.verified else Level.WARNING, found.problem, fetch)
    if found.days_left is None:
        return Finding(check, name, Level.UNKNOWN, "not known: when its certificate expires could not be read", renew)
    if found.days_left < EXPIRES_SOON:
        level = Level.CRITICAL if found.days_left < EXPIRES_NOW else Level.WARNING
        return Finding(check, name, level, "its certificate expires in %d days" % found.days_left, renew)
    return Finding(check, name, Level.OK, "trusted, for another %d days" % found.days_left)


def other_hands(host: HostSurvey, user: str) -> Iterator[Finding]:
    """Whoever else acts on this host: a vCenter, a backup product, a person."""
    out = "remove the host from that vCenter: its HA and DRS would act beside this cluster"
    if host.vcenter:
        yield Finding("other_hands", host.name, Level.CRITICAL, "vCenter %s manages this host" % host.vcenter, out)
    elif host.vcenter is None:
        yield Finding("other_hands", host.name, Level.UNKNOWN, "not known: whether a vCenter manages this host", out)
    for vm in host.vms:
        for snapshot in vm.snapshots:
            if BACKUP.search(snapshot):
                text = "a backup is at work on %s, or left its snapshot there (%s)" % (vm.name, snapshot)
                yield Finding(
                    "other_hands",
                    host.name,
                    Level.INFO,
                    text,
                    "see that its schedule leaves the monitor's user alone, and remove what it left",
                )
    if host.sessions is None:
        text = "not known: who else is logged in (the user may not see sessions)"
        remedy = "give it Sessions.TerminateSession to see them, or ask what backup and management products log in here"
        yield Finding("other_hands", host.name, Level.UNKNOWN, text, remedy)
        return
    strangers = [one for one in host.sessions if one.user not in (user, "dcui")]
    if not (host.vcenter or strangers):
        yield Finding("other_hands", host.name, Level.OK, "no vCenter, and nobody else is logged in")
    for one in strangers:
        agent = " with %s" % one.agent if one.agent else ""
        if one.user == VCENTER_USER:
            yield Finding("other_hands", host.name, Level.CRITICAL, "a vCenter is logged in as %s from %s" % (one.user, one.address), out)
        else:
            backup = "backup software" if BACKUP.search(one.agent + one.user) else "somebody else"
            text = "%s is logged in: %s from %s%s" % (backup, one.user, one.address, agent)
            yield Finding("other_hands", host.name, Level.INFO, text, "know who it is; it must not register, start or move VMs on its own")
