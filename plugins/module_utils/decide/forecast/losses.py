# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which VMs stay down when hosts are lost: their VMs are really placed on what is left, as a failover would place them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ..decision import Shortfall
from ..memory import VmRecord
from ..placement.capacity import running_on, wish_for
from ..placement.place import Room, place
from ..state import Cluster

LOOK_STEPS = 300  # of the search for a place that one look's question may cost; the failover itself searches much longer


def shortfalls_without(cluster: Cluster, rooms: Mapping[str, Room], claims: Sequence[VmRecord], lost: Collection[str]) -> list[Shortfall]:
    """The VMs that stay down when *lost* are gone, those of hosts that are gone already among them."""
    gone = {*lost, *(name for name, host in cluster.hosts.items() if host.is_fenced)}
    homeless = [vm for vm in claims if vm.host in gone or vm.host not in cluster.hosts]
    found = []
    for vm in homeless:
        host = cluster.hosts.get(vm.host)
        if host is not None and host.unfenceable:
            found.append(Shortfall(vm.id, vm.name, tuple(lost), "%s is unfenceable: %s" % (vm.host, host.unfenceable)))
    stuck = {item.id for item in found}
    wishes = [wish_for(vm, cluster) for vm in homeless if vm.id not in stuck]
    if not wishes:
        return found
    running = {identity: host for identity, host in running_on(cluster).items() if host not in gone}
    left = {name: room for name, room in rooms.items() if name not in gone}
    for item in place(wishes, left, cluster.rules, running, LOOK_STEPS, distribute=False):
        if not item.host:
            found.append(Shortfall(item.wish.vm.id, item.wish.vm.name, tuple(lost), refusal_text(item.refusals)))
    return found


def loss_texts(shortfalls: Iterable[Shortfall]) -> list[str]:
    """One sentence for each loss: "without esx1 vm3, vm4 stay down (vm3: esx2: 512 MiB memory too little)"."""
    by_loss: dict[tuple[str, ...], list[Shortfall]] = {}
    for item in shortfalls:
        by_loss.setdefault(item.lost, []).append(item)
    found = []
    for lost, mine in by_loss.items():
        names = [item.name for item in mine]
        more = " and %d more" % (len(names) - 3) if len(names) > 3 else ""
        verb = "stays" if len(names) == 1 else "stay"
        found.append("without %s %s%s %s down (%s: %s)" % (", ".join(lost), ", ".join(names[:3]), more, verb, names[0], mine[0].reason))
    return found


def refusal_text(refusals: Iterable[tuple[str, str]]) -> str:
    return "; ".join("%s: %s" % refusal for refusal in refusals) or "there is no other host"
