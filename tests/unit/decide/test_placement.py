"""VMs go where they fit, the important ones first, to the least loaded host, and always the same way."""

from __future__ import annotations

import dataclasses
import random

from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import VmRecord
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Backing
from ansible_collections.libreha.vmware.plugins.module_utils.decide.placement.place import Place, Room, Wish, place
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Priority
from decide_world import Host, Vm, World, three_hosts


def vm(name: str, memory: int = 1024, **more: object) -> VmRecord:
    files = (Backing("[shared] %s/%s.vmx" % (name, name), "vmx", "shared", "ds"),)
    record = VmRecord("ds:%s/%s.vmx" % (name, name), name, "[shared] %s/%s.vmx" % (name, name), "lost", memory=memory, files=files)
    return dataclasses.replace(record, **more)  # type: ignore[arg-type]


def room(host: str, memory: int, **more: object) -> Room:
    return Room(host, **{"memory": memory, "memory_total": 16384, "datastores": {"ds": "shared"}, **more})  # type: ignore[arg-type]


def plan(wishes: list[Wish], *rooms: Room) -> dict[str, str]:
    return {item.wish.vm.name: item.host for item in place(wishes, {item.host: item for item in rooms})}


def wish(record: VmRecord, priority: Priority = Priority.MEDIUM, power_on: bool = True) -> Wish:
    return Wish(record, priority, power_on)


def refusal(record: VmRecord, host: Room) -> str:
    (item,) = place([wish(record)], {host.host: host})
    assert item.host == ""
    return dict(item.refusals)[host.host]


def test_the_least_loaded_host_with_the_vm_takes_it() -> None:
    assert plan([wish(vm("a"))], room("esx2", 4000), room("esx3", 5000)) == {"a": "esx3"}


def test_what_is_planned_counts_for_the_next() -> None:
    wishes = [wish(vm("a", 4000)), wish(vm("b", 4000)), wish(vm("c", 4000))]
    assert plan(wishes, room("esx2", 8000), room("esx3", 5000)) == {"a": "esx2", "b": "esx3", "c": "esx2"}
    assert plan(wishes, room("esx2", 8000), room("esx3", 3000)) == {"a": "esx2", "b": "esx2", "c": ""}


def test_higher_priorities_are_placed_first_and_low_ones_stay_out() -> None:
    wishes = [wish(vm(name, 4000), Priority(name)) for name in ("lowest", "low", "medium", "high", "highest")]
    items = place(wishes, {"esx2": room("esx2", 12000)})
    assert [(item.wish.vm.name, bool(item.host)) for item in items] == [
        ("highest", True),
        ("high", True),
        ("medium", True),
        ("low", False),
        ("lowest", False),
    ]


def test_within_a_priority_the_larger_come_first() -> None:
    items = place([wish(vm("small", 100)), wish(vm("large", 4000))], {"esx2": room("esx2", 8000)})
    assert [item.wish.vm.name for item in items] == ["large", "small"]


def test_every_refusal_has_its_reason() -> None:
    assert refusal(vm("a", 4096), room("esx2", 3584)) == "512 MiB memory too little"
    assert refusal(vm("a", cpu=16), room("esx2", 8000, cores=8)) == "16 virtual CPUs on 8 cores"
    assert refusal(vm("a", cpu_reserved=900), room("esx2", 8000, cpu=500)) == "400 MHz reserved CPU too little"
    assert refusal(vm("a", networks=("DMZ", "LAN")), room("esx2", 8000, networks=frozenset({"LAN"}))) == "network DMZ is missing there"
    assert refusal(vm("a"), room("esx2", 8000, datastores={})) == "datastore shared is not accessible there"
    assert refusal(vm("a"), room("esx2", 8000, refuses="it is fenced")) == "it is fenced"
    assert refusal(vm("a"), room("lost", 8000)) == "it is where the VM was"


def test_a_vm_that_is_only_registered_needs_no_memory() -> None:
    (item,) = place([wish(vm("a", 99999), power_on=False)], {"esx2": room("esx2", 10)})
    assert item.host == "esx2"


def test_the_destinations_own_name_of_the_datastore_is_used() -> None:
    (item,) = place([wish(vm("a"))], {"esx2": room("esx2", 8000, datastores={"ds": "shared (1)"})})
    assert item.datastore == "shared (1)"


def test_the_plan_does_not_depend_on_the_order_of_the_input() -> None:
    rng = random.Random(1)
    wishes = [wish(vm("vm%02d" % number, rng.choice([512, 1024, 2048])), rng.choice(list(Priority)[:5])) for number in range(40)]
    rooms = {name: room(name, rng.randint(4000, 12000)) for name in ("esx2", "esx3", "esx4", "esx5")}
    plans: list[list[Place]] = []
    for _time in range(5):
        rng.shuffle(wishes)
        names = list(rooms)
        rng.shuffle(names)
        plans.append(place(wishes, {name: rooms[name] for name in names}))
    assert all(item == plans[0] for item in plans)
    assert rooms["esx2"].planned == 0


def test_vms_that_find_no_host_are_reported_with_each_hosts_reason_and_tried_again() -> None:
    world = three_hosts()
    world.vms["vm1"].memory = 12000
    for host in ("esx2", "esx3"):
        world.hosts[host].memory = 12000
    world.step(3)
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    (unplaced,) = world.failovers()["esx1"].unplaced
    assert {item.host: item.reason for item in unplaced.reasons} == {
        "esx1": "it is where the VM was",
        "esx2": "1024 MiB memory too little",
        "esx3": "1024 MiB memory too little",
    }
    assert "vm1 finds no host" in world.alarm("unplaced").text
    world.start("vm2", "esx2")
    world.run(60)
    world.hosts["esx3"].memory = 16384
    world.step(3)
    assert world.plan() == {"vm1": "esx3"}


def test_two_hosts_lost_together_share_one_plan() -> None:
    names = ["esx%d" % number for number in range(1, 6)]
    world = World(
        {name: Host(name, memory=9000) for name in names},
        {name: Vm(name, "esx%d" % (1 + index // 4), memory=4000) for index, name in enumerate(("a", "b", "c", "d"))},
    )
    world.vms["c"].host = world.vms["d"].host = "esx2"
    world.run(9)
    world.kill("esx1")
    world.kill("esx2")
    world.run(30)
    world.fence("esx1")
    world.fence("esx2")
    world.step(3)
    assert sorted(world.plan().values()) == ["esx3", "esx3", "esx4", "esx5"]


def test_a_suspect_host_is_no_destination() -> None:
    world = three_hosts()
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.partition("esx2")
    world.step(3)
    assert set(world.plan().values()) == {"esx3"}


def test_a_host_in_maintenance_is_no_destination() -> None:
    world = three_hosts()
    world.hosts["esx2"].maintenance = True
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    assert set(world.plan().values()) == {"esx3"}


def test_memory_that_a_host_does_not_count_yet_is_not_given_away_twice() -> None:
    world = three_hosts()
    world.vms["vm1"].memory = world.vms["vm2"].memory = 9000
    world.step(3)
    world.hosts["esx3"].maintenance = True
    world.kill("esx1")
    world.run(30)
    world.fence("esx1")
    world.step(3)
    assert world.plan() == {"vm1": "esx2"}
    world.start("vm1", "esx2")

    def late(look):  # type: ignore[no-untyped-def]
        hosts = tuple(dataclasses.replace(host, memory_free=15000) if host.name == "esx2" else host for host in look.hosts)
        return dataclasses.replace(look, hosts=hosts)

    world.change = late
    world.step(3)
    assert world.plan() == {}


def test_who_finds_a_place_does_not_depend_on_whether_the_plan_is_distributed() -> None:
    """Admission control asks at each look who would stay down; only the failover itself needs the best plan."""
    some_stay_out = 0
    for number in range(200):
        dice = random.Random(number)
        wishes = [
            wish(vm("vm%d" % index, dice.choice((512, 1024, 2048, 4096))), dice.choice((Priority.HIGH, Priority.MEDIUM, Priority.LOW)))
            for index in range(dice.randrange(1, 12))
        ]
        rooms = {name: room(name, dice.randrange(1024, 9000)) for name in ("esx1", "esx2", "esx3")}
        best, some = (place(wishes, rooms, steps=300, distribute=distribute) for distribute in (True, False))
        out = [[(item.wish.vm.id, item.refusals) for item in plan if not item.host] for plan in (best, some)]
        assert out[0] == out[1], number
        some_stay_out += bool(out[0])
    assert 20 < some_stay_out < 180
