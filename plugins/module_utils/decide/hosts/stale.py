# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stale registrations: VMs that a fenced host still has in its inventory although another host has them by now.

Somebody at that host, or its autostart, could start them there as well. They are unregistered there, which removes no file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..decision import StaleVm
from ..observations import VmObservation, split_path
from ..state import Cluster

VOLUMES = "/vmfs/volumes/"


def stale_on(host: str, cluster: Cluster) -> tuple[StaleVm, ...]:
    """The VMs that *host* lists and that are recorded on another host, which works and lists them itself.

    A VM of a host that does not work is not stale anywhere: this registration may be the one from which it starts next. Nor is one that
    its recorded host does not list: without this registration no host might have it.
    """
    elsewhere: dict[str, StaleVm] = {}
    for other in cluster.hosts.values():
        if other.name != host and cluster.leads(other):
            recorded = {vm.id: StaleVm(vm.id, vm.name, other.name) for vm in cluster.vms_on.get(other.name, ())}
            found = registered(cluster.observation.listed_on(other.name), recorded)
            elsewhere.update({identity: recorded[identity] for identity in found})
    return tuple(elsewhere[identity] for identity in sorted(registered(cluster.observation.listed_on(host), elsewhere)))


def registered(listed: Iterable[VmObservation], ids: Collection[str]) -> dict[str, VmObservation]:
    """Those of the VMs *ids* that a host lists, by id. A host without its datastore may know a VM by its path alone."""
    wanted = set(ids)
    by_path = {identity.partition(":")[2]: identity for identity in wanted}
    found = {}
    for vm in listed:
        identity = vm.id if vm.id in wanted or vm.accessible else _by_path(vm.path, wanted, by_path)
        if identity in wanted:
            found[identity] = vm
    return found


def _by_path(path: str, wanted: Collection[str], by_path: dict[str, str]) -> str:
    """The id by the path of a .vmx file that cannot be read: "[shared] web1/web1.vmx", or "[] /vmfs/volumes/5f3b/web1/web1.vmx", which
    names the datastore by its UUID; empty for none."""
    inside = split_path(path)[1]
    if inside.startswith(VOLUMES):
        uuid, _slash, rest = inside[len(VOLUMES) :].partition("/")
        return "%s:%s" % (uuid, rest) if "%s:%s" % (uuid, rest) in wanted else ""
    return by_path.get(inside, "")
