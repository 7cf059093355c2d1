"""A VM that is as it was keeps its very record, and skipping it never hides a change."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations_with_replacement
from typing import Any
from unittest import mock

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.host_reports import HostReport
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Desired, HostRecord, Memory, VmRecord
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Backing, Observation, Power, VmObservation
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms import inventory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.vms.inventory import update_vms
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from decide_world import World, three_hosts

NOW = three_hosts().at()
HOSTS = ("esx1", "esx2", "esx3")
BACKINGS = (
    Backing("[a] vm/vm.vmx", "vmx", "a", "uuid-a", writable=False),
    Backing("[a] vm/vm.iso", "cdrom", "a", "uuid-a", writable=False),
    Backing("[a] vm/vm.log", "log", "a", "uuid-a"),
    Backing("[a] vm/vm.vmdk", "disk", "a", "uuid-a"),
)
VMX, DISK = Backing("[a] vm/vm.vmx", "vmx", "a", "uuid-a", writable=False), Backing("[a] vm/vm.vmdk", "disk", "a", "uuid-a")
ISO, LOG = Backing("[a] vm/vm.iso", "cdrom", "a", "uuid-a"), Backing("[a] vm/vm.log", "log", "a", "uuid-a")
SEEN = VmObservation(
    "uuid-a:vm/vm.vmx",
    "esx1",
    "vm",
    "[a] vm/vm.vmx",
    NOW,
    heartbeat="green",
    memory=1024,
    hardware_version="vmx-19",
    backings=BACKINGS,
    networks=("n",),
)
SAME = VmRecord(
    SEEN.id,
    "vm",
    SEEN.path,
    "esx1",
    memory=1024,
    files=(VMX, LOG, DISK),
    networks=("n",),
    hardware_version="vmx-19",
    heartbeat="green",
)
# What may be different in a record, one at a time and two together.
DIFFERENT: list[tuple[str, Any]] = [
    ("name", "other"),
    ("path", "[b] vm/vm.vmx"),
    ("host", "esx2"),
    ("host", "esx3"),
    *(("desired", desired) for desired in Desired),
    *(("power", power) for power in Power),
    ("memory", 512),
    ("cpu", 2),
    ("cpu_reserved", 100),
    ("memory_reserved", 100),
    ("networks", ()),
    ("hardware_version", "vmx-13"),
    ("heartbeat", "red"),
    ("on_since", NOW),
    ("clean_off", True),
    ("restart", True),
    ("registered", "esx2"),
    ("stopping", True),
    ("files", ()),
    ("files", (VMX,)),
    ("files", (VMX, ISO, LOG, DISK)),
    ("files", (VMX, DISK)),
    ("files", (VMX, LOG, DISK, DISK)),
    *(("files", (VMX, LOG, DISK._replace(**{field: "x"}))) for field in ("path", "kind", "datastore", "datastore_uuid")),
]
LOOKS = [
    *((replace(SEEN, power=power),) for power in Power),
    (replace(SEEN, power=Power.ON, accessible=False),),
    (replace(SEEN, power=Power.OFF, backings=()),),
    (replace(SEEN, power=Power.ON), replace(SEEN, power=Power.ON, host="esx2")),
    (replace(SEEN, power=Power.OFF), replace(SEEN, power=Power.OFF, host="esx2")),
]


@pytest.mark.parametrize("verdict", [Verdict.HEALTHY, Verdict.UNKNOWN])
@pytest.mark.parametrize("off", [False, True], ids=["", "switched off"])
@pytest.mark.parametrize("look", LOOKS, ids=lambda vms: "+".join(vm.power.value for vm in vms))
def test_a_vm_is_skipped_only_if_looking_at_it_changes_nothing(look: tuple[VmObservation, ...], off: bool, verdict: Verdict) -> None:
    vm = look[0]
    same = replace(SAME, power=vm.power, desired=Desired.STARTED if vm.power is Power.ON else Desired.STOPPED)
    told = {name: HostReport(HostRecord(name), clean_off=frozenset({vm.id} if off else ())) for name in HOSTS}
    verdicts = dict.fromkeys(HOSTS, verdict)
    skipped = 0
    for one, other in combinations_with_replacement(DIFFERENT, 2):
        record = replace(same, **dict([one, other]))
        arguments = Memory(vms=(record,)), Observation(NOW, vms=look, vms_read=HOSTS), verdicts, told, {}, NOW
        skipping = update_vms(*arguments)
        with mock.patch.object(inventory, "_as_before", return_value=False):
            assert skipping == update_vms(*arguments), (one, other)
        skipped += any(after is record for after in skipping[0])
    assert skipped > 0 or off or len(look) > 1


def records(world: World) -> dict[str, VmRecord]:
    return {record.name: record for record in world.memory.vms}


def test_the_vms_of_a_quiet_cluster_keep_their_very_records() -> None:
    world = three_hosts()
    world.run(30)
    before = world.memory
    after = _decide(world, before)
    assert [one is other for one, other in zip(before.vms, after.vms)] == [True] * 4


def test_only_the_vm_that_changed_has_a_new_record() -> None:
    world = three_hosts()
    world.run(30)
    before = world.memory
    world.vms["vm2"].memory += 512
    after = _decide(world, before)
    assert [record.name for one, record in zip(before.vms, after.vms) if one is not record] == ["vm2"]
    assert records(world)["vm2"].memory + 512 == after.vms[1].memory


def _decide(world: World, memory: Memory) -> Memory:
    """One more look, with the memory handed over as it is and not through JSON."""
    world.now += 3
    for host in world.hosts.values():
        host.counter += 1
    return decide(read_policy(world.full_policy()), memory, world.look(), world.at(), world.run_id).memory
