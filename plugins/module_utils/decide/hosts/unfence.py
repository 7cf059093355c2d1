# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What stands against letting a fenced host in again, beyond what the storage server itself demands (``storage/unfencing.py``).

The storage server knows the fence and asks for the fresh start. It does not know the VMs. Invariant (docs/safety.md, "Unfence"): a host
is let in only when its own list, read now, shows no VM running; nothing of it is being started elsewhere; it no longer has
VMs registered that are recorded on other hosts; and a person's word does not replace a fresh start that could be proved while
VMs that were started elsewhere run there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..answers import ApiAnswer
from ..observations import HostObservation, Power, StorageObservation, VmObservation, split_path


@dataclass(frozen=True)
class Return:
    """A host that is to be let in again, and what was read of it just now.

    ``vms`` are those that it lists itself; None: they could not be read. ``recorded`` (vm_id, name, host, power) and ``transactions``
    (vm_id, vm_name, source, destination, closed, token) are rows of the state database: all VMs, and all failovers from this host since
    its fence.
    """

    host: str
    servers: Sequence[str]  # names of all storage servers
    storage: Sequence[StorageObservation]
    seen: HostObservation
    vms: Sequence[VmObservation] | None
    recorded: Sequence[Mapping[str, Any]]
    transactions: Sequence[Mapping[str, Any]]
    forced: bool = False


def refusals(wanted: Return) -> list[str]:
    """Each reason against it with what to do about it; empty when it may be let in."""
    found = list(_unasked(wanted))
    if wanted.seen.api_answer is not ApiAnswer.ANSWERED:
        why = wanted.seen.api_reason or wanted.seen.api_answer.value
        return [*found, "%s does not answer (%s): start it; only it can tell that no VM runs there" % (wanted.host, why)]
    if wanted.vms is None:
        return [*found, "the VMs of %s could not be read: only its own list tells that none runs there" % wanted.host]
    running = sorted(vm.name for vm in wanted.vms if vm.power is Power.ON)
    if running:
        found.append("%s runs %s: stop them there, and switch its autostart off" % (wanted.host, ", ".join(running)))
    left_open = sorted(row["vm_name"] for row in wanted.transactions if row["source"] == wanted.host and not row["closed"])
    if left_open:
        found.append("the failover of %s is not finished: run the playbook monitor first" % ", ".join(left_open))
    stale = _registered_elsewhere(wanted, wanted.vms)
    if stale:
        text = (
            "%s still has %s registered, which are recorded on other hosts by now: unregister them on it "
            "(for id in %s; do vim-cmd vmsvc/unregister $id; done)"
        )
        found.append(text % (wanted.host, ", ".join(sorted(name for name, _vm in stale)), " ".join(vm.moid for _name, vm in stale)))
    return found + _against_force(wanted)


def _unasked(wanted: Return) -> Iterable[str]:
    asked = {server.name for server in wanted.storage if server.serving is not None}
    for name in wanted.servers:
        if name not in asked:
            yield "storage server %s could not be asked: as long as its fence stands, the others' would be applied again" % name


def _registered_elsewhere(wanted: Return, vms: Iterable[VmObservation]) -> list[tuple[str, VmObservation]]:
    """VMs in the host's own list that are recorded on other hosts, each with its recorded name. Without its datastore the host may know
    neither their ids nor their names: then they are found by their path."""
    names = {row["vm_id"]: row["name"] for row in wanted.recorded if row["host"] != wanted.host}
    by_path = {identity.partition(":")[2]: name for identity, name in names.items()}
    found = [(names.get(vm.id) or ("" if vm.accessible else by_path.get(_inside(vm.path), "")), vm) for vm in vms]
    return [(name, vm) for name, vm in found if name]


def _inside(path: str) -> str:
    """The path of the .vmx inside its datastore: "web1/web1.vmx" of "[] /vmfs/volumes/5f3b/web1/web1.vmx"."""
    inside = split_path(path)[1]
    if inside.startswith("/vmfs/volumes/"):
        return inside[len("/vmfs/volumes/") :].partition("/")[2]
    return inside


def _against_force(wanted: Return) -> list[str]:
    """A word replaces the proof only where there can be none: where the storage server was restarted since the fence."""
    lines = [(server, line) for server in wanted.storage for line in server.fences if line.host == wanted.host]
    provable = [line for server, line in lines if server.taken_at.since(line.at) is not None]
    if not wanted.forced or not provable:
        return []
    since = min(line.token for _server, line in lines)
    moved = {
        row["vm_id"]
        for row in wanted.transactions
        if row["token"] >= since and row["source"] == wanted.host and row["destination"] != wanted.host
    }
    names = sorted(
        row["name"] for row in wanted.recorded if row["vm_id"] in moved and row["host"] != wanted.host and row["power"] == Power.ON.value
    )
    if not names:
        return []
    text = "%s run elsewhere since the fence, and a restart of %s after the fence can be proved: restart it and leave force out"
    return [text % (", ".join(names), wanted.host)]
