# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""By which way a VM moves from one host that works to another.

The best way that both hosts allow: one that is off is registered at the destination; a running one is handed over while it runs, where both
hosts can; else it is suspended, where its memory can be read again at the destination; else its guest is shut down (cold), if it hears
that. A person may name the way (``VmRecord.wanted_way``); what speaks against that one refuses the move, and no other way is taken in its
place. A running VM is switched off (power_off) for a move only where a person has named that.

Invariant: a VM is suspended for a move only if both hosts told of their CPUs, and told the same (HostFeatureCapability of the vSphere API):
ESXi refuses to resume memory on a CPU that lacks what the VM saw when it started, and then nothing but the source could start it again.
"""

from __future__ import annotations

from ..decision import DEAF, Way
from ..memory import VmRecord
from ..observations import Power
from ..obstacles import ObstacleKind, cpu_of
from ..state import Cluster, HostState

#: Devices whose state no host writes down: with one a VM cannot be suspended.
NOT_SUSPENDED = frozenset(
    {ObstacleKind.PCI_DEVICE, ObstacleKind.DYNAMIC_PCI_DEVICE, ObstacleKind.VGPU, ObstacleKind.SCSI_DEVICE, ObstacleKind.USB_DEVICE}
)


def way_of(vm: VmRecord, source: HostState, destination: HostState, cluster: Cluster) -> tuple[Way, list[str]]:
    """The way of *vm*, and why it is not suspended where its way is cold."""
    if vm.power is not Power.ON:
        return Way.REGISTER, []
    if vm.wanted_way in (Way.COLD.value, Way.SUSPEND.value, Way.POWER_OFF.value):
        return Way(vm.wanted_way), []
    if _hands_over(source) and _hands_over(destination):
        return Way.VMOTION, []
    hindrances = suspend_hindrances(vm, source, destination, cluster)
    return (Way.COLD, hindrances) if hindrances else (Way.SUSPEND, [])


def suspend_hindrances(vm: VmRecord, source: HostState, destination: HostState, cluster: Cluster) -> list[str]:
    """Everything that speaks against suspending it here and resuming it there."""
    found = ["%s does not tell what its CPU offers" % host.name for host in (source, destination) if not cpu_of(host.record.offers)]
    if not found and cpu_of(source.record.offers) != cpu_of(destination.record.offers):
        found.append("the CPU of %s is not the one of %s" % (destination.name, source.name))
    found += ["it has %s" % item.device for item in vm.obstacles if item.kind in NOT_SUSPENDED]
    return found + _questions(vm, cluster)


def hindrances(vm: VmRecord, source: HostState, destination: HostState, cluster: Cluster) -> list[str]:
    """Everything that speaks against the way that a person named; where none is named, against every way."""
    wanted = vm.wanted_way
    runs = vm.power is Power.ON
    if wanted == Way.SUSPEND.value and runs:
        return suspend_hindrances(vm, source, destination, cluster)
    found = _questions(vm, cluster)
    if wanted == Way.REGISTER.value and runs:
        found.append("it runs, and way: register moves what is off")
    if wanted == Way.VMOTION.value and not (_hands_over(source) and _hands_over(destination)):
        found.append("%s and %s cannot hand a running VM over (way: vmotion)" % (source.name, destination.name))
    if runs and not found and not listens(vm, cluster):
        way, not_suspended = way_of(vm, source, destination, cluster)
        if way is Way.COLD:
            first = "it cannot be suspended (%s), and " % "; ".join(not_suspended) if not_suspended else ""
            found.append(first + DEAF)
    return found


def listens(vm: VmRecord, cluster: Cluster) -> bool:
    """Whether its guest can be asked to shut down."""
    seen = cluster.observation.sighting(vm.id, vm.host)
    return seen is not None and seen.guest_listens


def _questions(vm: VmRecord, cluster: Cluster) -> list[str]:
    seen = cluster.observation.sighting(vm.id, vm.host)
    question = seen.question if seen is not None else None
    return ["a question waits for a person: %s" % (question.text or question.message_id)] if question is not None else []


def _hands_over(host: HostState) -> bool:
    return host.seen is not None and host.seen.live_migration
