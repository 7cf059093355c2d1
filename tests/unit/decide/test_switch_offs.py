"""What a person switches off has an end: it ends by itself, or an alarm asks for its end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import FenceAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Memory
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record.commands import read_command
from decide_world import World, three_hosts

SWITCH_OFF = {"switch_off": {"disarm": 600, "maintenance": 600, "ignore": 600}}
KINDS = {"disarm": "", "ignore": "vm1", "maintenance_on": "esx1"}


def off(world: World, kind: str, holds: float = 0.0) -> None:
    world.commands = [Command(CommandKind(kind), KINDS[kind], by="Ada", reason="works", holds=holds)]
    world.step(3)


def is_off(world: World, kind: str) -> bool:
    found = {
        "disarm": bool(world.memory.disarmed),
        "ignore": world.record("vm1").ignored,
        "maintenance_on": world.memory.host("esx1").wanted_maintenance,
    }
    return found[kind]


@pytest.mark.parametrize(("kind", "holds"), [(kind, holds) for kind in KINDS for holds in (0.0, 300.0)])
def test_it_stands_for_its_time_and_then_ends_or_is_an_alarm(kind: str, holds: float) -> None:
    world = three_hosts(**SWITCH_OFF)
    off(world, kind, holds)
    length = holds or 600.0
    world.step(length - 1)
    assert is_off(world, kind)
    assert world.alarm("maintenance_over") is None
    world.step(2)
    if kind == "maintenance_on":
        assert is_off(world, kind), "nobody is let in unasked"
        alarm = world.alarm("maintenance_over:esx1")
        assert alarm is not None
        assert "by Ada: works was to end at 2026-01-01" in alarm.text
        assert "evacuate -e host=esx1 -e end=true" in alarm.text
    else:
        assert not is_off(world, kind)
        ended = world.alarm("armed" if kind == "disarm" else "managed:")
        assert ended is not None
        assert "Ada: works" in ended.text
    world.step(3)
    assert world.alarm("armed") is None and world.alarm("managed:") is None


def test_a_cluster_that_is_armed_again_acts_on_what_was_lost_meanwhile() -> None:
    world = three_hosts(**SWITCH_OFF)
    off(world, "disarm")
    world.kill("esx1")
    world.run(570)
    assert world.of(FenceAction) == []
    soon = world.alarm("armed_soon")
    assert soon is not None
    assert "armed again at 2026-01-01 00:26 UTC" in soon.text
    world.run(60)
    assert [action.host for action in world.of(FenceAction)] == ["esx1"]


@pytest.mark.parametrize("kind", KINDS)
def test_given_again_it_is_prolonged_and_counts_from_its_first_time(kind: str) -> None:
    world = three_hosts(**SWITCH_OFF)
    off(world, kind, 500.0)
    world.step(450)
    off(world, kind, 500.0)
    world.step(300)
    assert is_off(world, kind)
    long = world.alarm("long_off:")
    assert long is not None, "together they are longer than the policy's"
    assert "until 2026-01-01" in long.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_of_the_arbiter_makes_it_end_later_and_never_earlier(kind: str) -> None:
    world = three_hosts(**SWITCH_OFF)
    off(world, kind)
    world.step(400)
    world.boot, world.now = "boot-2", 50.0
    world.step(3)
    world.step(595)
    assert is_off(world, kind)
    assert world.alarm("maintenance_over") is None
    world.step(10)
    assert not is_off(world, kind) or world.alarm("maintenance_over")


def test_what_an_older_release_remembers_without_an_end_gets_the_policys() -> None:
    world = three_hosts(**SWITCH_OFF)
    vm = replace(world.record("vm1"), ignored=True)
    host = replace(world.memory.host("esx1"), wanted_maintenance=True)
    world.memory = replace(world.memory.with_vm(vm).with_host(host), disarmed="Ada: works")
    world.step(3)
    assert all(is_off(world, kind) for kind in KINDS)
    world.step(599)
    assert all(is_off(world, kind) for kind in KINDS)
    world.step(3)
    assert [kind for kind in KINDS if is_off(world, kind)] == ["maintenance_on"]


@pytest.mark.parametrize(("kind", "ends"), [("disarm", "arm"), ("ignore", "manage"), ("maintenance_on", "maintenance_off")])
def test_its_end_by_a_person_leaves_nothing_of_it(kind: str, ends: str) -> None:
    world = three_hosts(**SWITCH_OFF)
    world.step(3)
    off(world, kind)
    world.command(ends, KINDS[kind])
    world.step(3)
    clean = Memory()
    assert (world.memory.disarm, world.record("vm1").ignore, world.memory.host("esx1").maintenance_order) == (clean.disarm, None, None)
    assert not is_off(world, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lacks", ["by", "reason"])
def test_nobody_switches_off_without_a_name_and_a_reason(kind: str, lacks: str) -> None:
    given = {"kind": kind, "subject": KINDS[kind], "by": "Ada", "reason": "works", "holds": 60}
    assert read_command(given).holds == 60
    with pytest.raises(LibrehaError, match="%s needs a named person and a reason" % kind):
        read_command({**given, lacks: " " if lacks == "reason" else ""})


@pytest.mark.parametrize(("kind", "holds"), [("disarm", -1), ("arm", 60)])
def test_a_time_that_makes_no_sense_is_refused(kind: str, holds: float) -> None:
    with pytest.raises(LibrehaError, match="%s holds for" % kind):
        read_command({"kind": kind, "by": "Ada", "reason": "works", "holds": holds})
