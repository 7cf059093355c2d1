# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a vSphere fault means to a failover: the few kinds that it treats differently.

Faults are told apart by type and by message ids, which do not depend on the host's language; the English text is only
the last resort. Sources: vSphere Web Services API reference (fault types), messages of hostd ("msg.fileio.lock").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..decide.answers import ApiAnswer
from .interface import Connection, FaultKind, HostUnavailable, HypervisorFault
from .pyvmomi import vim, vmodl
from .transport import exchange_answer

LOCK_MESSAGES = ("msg.fileio.lock", "msg.disklib.filelock", "msg.vmxlock")
LOCK_TEXTS = ("failed to lock the file", "locked by a consumer", "since it is locked", "unable to access a file since it is locked")
# Power-on fails with GenericVmConfigFault, and what the vmkernel's admission check said as a detail ("msg.vmk.status." and the
# name of its status, vmkapi_status.h), or with what the VM's monitor said itself ("msg.memsched.notEnoughMem...").
RESOURCE_MESSAGES = (
    "vmk_mem_admit_failed",
    "vmk_cpu_admit_failed",
    "vmk_no_memory",
    "vmk_no_resources",
    "msg.memsched.",
)
RESOURCE_TEXTS = ("admission check failed for memory", "admission check failed for cpu", "not enough physical memory")

REMEDIES = {
    FaultKind.FILE_LOCKED: "another host holds the files or did until some seconds ago: it is tried again after the lock's lease",
    FaultKind.READ_ONLY: "the host's licence forbids changes through its API: assign a licence that includes the vSphere API",
    FaultKind.DUPLICATE_NAME: "give each VM a name of its own",
    FaultKind.INACCESSIBLE: "check the host's iSCSI sessions and that the datastore is mounted there",
    FaultKind.NO_RESOURCES: "free memory or CPU on this host, or place the VM on another one",
    FaultKind.TIMED_OUT: "the outcome is unknown: look at the VM before acting again",
    FaultKind.LOST: "the outcome is unknown: look at the VM before acting again",
}


def fault_kind(fault: Any) -> FaultKind:
    """The kind of a fault that the host raised or that its task ended with."""
    if _says(fault, LOCK_MESSAGES, LOCK_TEXTS):
        return FaultKind.FILE_LOCKED
    if _says(fault, RESOURCE_MESSAGES, RESOURCE_TEXTS):
        return FaultKind.NO_RESOURCES
    if isinstance(fault, vim.fault.InvalidPowerState) and fault.existingState == fault.requestedState:
        return FaultKind.ALREADY  # the step is done
    for kind, types in _kinds():
        if isinstance(fault, types):
            return kind
    return FaultKind.OTHER


def fault_text(fault: Any) -> str:
    """The fault in the host's own words, with its type and its detail messages."""
    if fault is None:
        return "no reason given"
    kind = type(fault).__name__.rsplit(".", 1)[-1]
    text = str(getattr(fault, "msg", "") or "").strip() or str(getattr(fault, "localizedMessage", "") or "").strip()
    details = [message for _key, message in _messages(fault) if message and message not in text]
    privilege = getattr(fault, "privilegeId", None)
    if privilege:
        details.append("missing privilege %s" % privilege)
    name = getattr(fault, "name", None)
    if isinstance(name, str) and name and name not in text:
        details.append(name)
    return "%s%s%s" % (kind, ": " + text if text else "", " (%s)" % "; ".join(details) if details else "")


def hypervisor_fault(error: Exception, tried: str, connection: Connection) -> HypervisorFault | None:
    """The fault to raise for *error*, which came while *tried*; None where it is no answer of a host at all."""
    answer = exchange_answer(error)
    if answer is not None:
        kind = FaultKind.TIMED_OUT if answer[0] is ApiAnswer.TIMED_OUT else FaultKind.LOST
        return HypervisorFault("%s: %s" % (tried, answer[1]), kind=kind, host=connection.name, remedy=REMEDIES[kind])
    if not isinstance(error, vmodl.MethodFault):
        return None
    kind = fault_kind(error)
    remedy = REMEDIES.get(kind, "")
    if isinstance(error, vim.fault.NoPermission) and not isinstance(error, vim.fault.NotAuthenticated):
        remedy = "give the user %s the privilege on this host" % connection.username
    return HypervisorFault("%s: %s" % (tried, fault_text(error)), kind=kind, host=connection.name, remedy=remedy)


def host_unavailable(error: Exception, tried: str, connection: Connection) -> HostUnavailable | None:
    """What *error*, which came while reading, says about the host; None where it is no answer of a host at all."""
    if isinstance(error, HostUnavailable):
        return error
    answer = exchange_answer(error)
    if answer is not None:
        return HostUnavailable(
            "%s: %s" % (tried, answer[1]),
            answer=answer[0],
            host=connection.name,
            remedy="check the host's management agents; they answered before or after with less than the whole",
        )
    if not isinstance(error, vmodl.MethodFault):
        return None
    what, remedy = fault_answer(error, connection)
    return HostUnavailable("%s: %s" % (tried, fault_text(error)), answer=what, host=connection.name, remedy=remedy)


def fault_answer(fault: Any, connection: Connection) -> tuple[ApiAnswer, str]:
    """What a fault to a login or to a reading says about the host, and the remedy."""
    if isinstance(fault, (vim.fault.InvalidLogin, vim.fault.NoPermission)):
        return ApiAnswer.LOGIN_REFUSED, (
            "check username and password for %s, that the account is not locked, and that lockdown mode does not forbid it"
            % connection.hostname
        )
    if fault_kind(fault) is FaultKind.READ_ONLY or isinstance(fault, vim.fault.InvalidLicense):
        return ApiAnswer.LICENCE_REFUSED, REMEDIES[FaultKind.READ_ONLY]
    return ApiAnswer.BROKEN, "check the host's management agents (hostd) and its log"


def _kinds() -> tuple[tuple[FaultKind, tuple[type, ...]], ...]:
    return (
        (FaultKind.FILE_LOCKED, (vim.fault.FileLocked,)),
        (FaultKind.READ_ONLY, (vim.fault.RestrictedVersion, vmodl.fault.NotEnoughLicenses)),
        (FaultKind.ALREADY, (vim.fault.AlreadyExists,)),
        (FaultKind.DUPLICATE_NAME, (vim.fault.DuplicateName,)),
        (FaultKind.LOST, (vim.fault.NotAuthenticated, vmodl.fault.HostCommunication, vmodl.fault.RequestCanceled)),
        (FaultKind.NOT_FOUND, (vim.fault.NotFound, vim.fault.FileNotFound, vmodl.fault.ManagedObjectNotFound)),
        (FaultKind.INACCESSIBLE, (vim.fault.InvalidDatastore, vim.fault.CannotAccessFile, vim.fault.CannotAccessVmComponent)),
        (FaultKind.NO_RESOURCES, (vim.fault.InsufficientResourcesFault,)),
        (FaultKind.TIMED_OUT, (vim.fault.Timedout,)),
    )


def _says(fault: Any, ids: tuple[str, ...], known: tuple[str, ...]) -> bool:
    """Whether a message of the fault has one of the *ids*, or a text one of the *known* texts. Powering on a VM whose disk another host
    has open, or for which there is no memory, fails with GenericVmConfigFault and the cause as a detail."""
    messages = list(_messages(fault))
    if any(identity in key.lower() for key, _text in messages for identity in ids):
        return True
    texts = [str(getattr(fault, "msg", "") or ""), *(text for _key, text in messages)]
    return any(text in said.lower() for said in texts for text in known)


def _messages(fault: Any) -> Iterator[tuple[str, str]]:
    for message in getattr(fault, "faultMessage", None) or ():
        yield str(message.key or ""), str(message.message or "")
