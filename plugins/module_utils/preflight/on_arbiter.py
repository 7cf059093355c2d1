# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Findings about the arbiter, and about circles: what the failover needs must not run on what fails. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..hypervisor.host_survey import HostSurvey, SurveyedVm
from ..libraries import Finding as LibraryFinding
from ..libraries import remedy
from .finding import Finding, Level

USUAL_SERVICES = ("mail relay", "awx", "ups client")


@dataclass(frozen=True)
class Arbiter:
    """What this machine says of itself. Empty: it does not tell. ``targets`` are those that it is logged in to as an initiator."""

    uuid: str = ""  # SMBIOS
    addresses: tuple[str, ...] = ()
    name_servers: tuple[str, ...] | None = None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class StateFile:
    """``backup_age`` in days; None: there is none. ``exists`` None: the state database is no file of this machine."""

    exists: bool | None
    pattern: str = ""
    backup: str = ""
    backup_age: float | None = None


def libraries(found: Iterable[LibraryFinding]) -> Iterator[Finding]:
    for one in found:
        name = one.library.name
        if one.problem:
            yield Finding("libraries", name, Level.CRITICAL, one.problem, remedy(one.library.module))
        elif not one.version:
            text = "it can be imported, its version is not known (%s is needed)" % one.library.requirement()
            yield Finding("libraries", name, Level.UNKNOWN, text, "install it by pip or a package that tells its version")
        else:
            yield Finding("libraries", name, Level.OK, one.version)


def state_backup(state: StateFile, max_age: float) -> Iterator[Finding]:
    how = "copy it every day, by sqlite3 STATE '.backup FILE', to another machine too, and give the files as libreha_state_backup"
    if state.exists is None:
        text = "not known: the state database is not a file of this machine"
        yield Finding("state_backup", "cluster", Level.UNKNOWN, text, "see that the database server's backups include it")
    elif not state.exists:
        yield Finding("state_backup", "cluster", Level.WARNING, "there is no state database yet", "run libreha.vmware.site")
    elif state.backup_age is None:
        yield Finding("state_backup", "cluster", Level.WARNING, "no backup of the state database is found (%s)" % state.pattern, how)
    elif state.backup_age > max_age:
        text = "the newest backup of the state database, %s, is %.0f days old" % (state.backup, state.backup_age)
        yield Finding("state_backup", "cluster", Level.WARNING, text, how)
    else:
        yield Finding("state_backup", "cluster", Level.OK, "%s is %.1f days old" % (state.backup, state.backup_age))


def circles(
    arbiter: Arbiter, services: Mapping[str, Sequence[str]], surveys: Sequence[HostSurvey], whole: bool, ours: Iterable[str]
) -> Iterator[Finding]:
    """*services* are names with addresses; *whole*: every host was surveyed; *ours* are the IQNs of the cluster's targets."""
    vms = [vm for survey in surveys for vm in survey.vms]
    silent = [vm.name for vm in vms if vm.running and not vm.addresses]
    yield from _arbiter_is_a_vm(arbiter, vms, whole)
    logged_in = sorted(set(arbiter.targets) & set(ours))
    if logged_in:
        text = "it is logged in at target %s of this very cluster as an initiator" % ", ".join(logged_in)
        yield Finding("circles", "arbiter", Level.WARNING, text, "keep what the arbiter runs from off the cluster's LUNs")
    named = {**services}
    if arbiter.name_servers is None:
        yield Finding(
            "circles", "name server", Level.UNKNOWN, "not known: /etc/resolv.conf cannot be read", "see where this machine resolves names"
        )
    elif arbiter.name_servers:
        named["name server"] = arbiter.name_servers
    for name, addresses in sorted(named.items()):
        yield from _service(name, addresses, vms, silent, whole)
    for name in USUAL_SERVICES:
        if name not in {given.lower() for given in services}:
            text = "not known: no address is given for it"
            yield Finding("circles", name, Level.UNKNOWN, text, "give it in libreha_preflight_services, an empty list if there is none")


def _arbiter_is_a_vm(arbiter: Arbiter, vms: Sequence[SurveyedVm], whole: bool) -> Iterator[Finding]:
    remedy_text = "move the arbiter to a machine of its own: it dies with the host that it is to fail over"
    own = [vm.name for vm in vms if (arbiter.uuid and vm.uuid == arbiter.uuid) or set(vm.addresses) & set(arbiter.addresses)]
    if own:
        yield Finding("circles", "arbiter", Level.CRITICAL, "the arbiter runs as VM %s of this very cluster" % own[0], remedy_text)
    elif not arbiter.uuid or not whole:
        text = "not known: %s" % ("this machine does not tell its UUID" if not arbiter.uuid else "not every host told its VMs")
        yield Finding("circles", "arbiter", Level.UNKNOWN, text, remedy_text)
    else:
        yield Finding("circles", "arbiter", Level.OK, "it is none of the %d VMs" % len(vms))


def _service(name: str, addresses: Sequence[str], vms: Sequence[SurveyedVm], silent: Sequence[str], whole: bool) -> Iterator[Finding]:
    remedy_text = "have a second one outside the cluster, or use addresses in place of names"
    hits = {address: vm.name for address in addresses for vm in vms if address in vm.addresses}
    if not addresses:
        yield Finding("circles", name, Level.OK, "there is none")
    elif hits and len(hits) == len(set(addresses)):
        text = "it runs in this very cluster: %s" % ", ".join("%s is VM %s" % item for item in sorted(hits.items()))
        yield Finding("circles", name, Level.WARNING, text, remedy_text)
    elif hits:
        text = "%s; another one is outside" % ", ".join("%s is VM %s" % item for item in sorted(hits.items()))
        yield Finding("circles", name, Level.OK, text)
    elif silent or not whole:
        which = (
            "%d of the running VMs tell no address (%s)" % (len(silent), ", ".join(silent[:3])) if silent else "not every host told its VMs"
        )
        text = "not known: %s is none of the VMs that tell their addresses, but %s" % (", ".join(addresses), which)
        yield Finding("circles", name, Level.UNKNOWN, text, "install VMware Tools in them, or see yourself")
    else:
        yield Finding("circles", name, Level.OK, "%s is none of the VMs" % ", ".join(addresses))
