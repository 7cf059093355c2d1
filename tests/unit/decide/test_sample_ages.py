"""Samples of different ages in one look: each path is judged by the age of its own sample, and a sample counts once."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import Evidence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import ResetAction
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Desired
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import HostObservation, Observation, Power, SampleTimes
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict
from decide_world import World, three_hosts


class Paced:
    """Observers of a world at their own pace: ``paces`` has the seconds between two samples of each path to a host."""

    def __init__(self, world: World, **paces: float) -> None:
        self.world = world
        self.paces = {"api": 0.0, "ping": 0.0, "power": 0.0, **paces}
        self.samples: dict[tuple[str, str], HostObservation] = {}

    def look(self) -> Observation:
        look = self.world.look()
        return dataclasses.replace(look, hosts=tuple(self._host(host) for host in look.hosts))

    def _host(self, now: HostObservation) -> HostObservation:
        api, ping, power = (self._sample(path, now) for path in ("api", "ping", "power"))
        times = SampleTimes(api.taken_at, api.taken_at, ping.taken_at, ping.taken_at, power.taken_at)
        return dataclasses.replace(api, taken_at=now.taken_at, ping=ping.ping, power=power.power, sampled=times)

    def _sample(self, path: str, now: HostObservation) -> HostObservation:
        kept = self.samples.get((now.name, path))
        if kept is None or (now.taken_at.since(kept.taken_at) or 0.0) >= self.paces[path]:
            kept = self.samples[now.name, path] = now
        return kept

    def run(self, seconds: float, every: float = 1.0) -> None:
        end = self.world.now + seconds
        while self.world.now < end:
            self.step(every)

    def step(self, after: float = 1.0) -> None:
        self.world.now += after
        for host in self.world.hosts.values():
            host.counter += bool(host.writes and host.session)
        self.world.step(0.0, self.look())

    def until_fenced(self, host: str = "esx1", most: float = 100.0) -> float:
        began = self.world.now
        while host not in self.world.fences():
            self.step()
            assert self.world.now < began + most
        return self.world.now - began


def watched(**paces: float) -> Paced:
    paced = Paced(three_hosts(), **paces)
    paced.run(12)
    return paced


def test_probes_at_their_own_pace_confirm_as_soon_as_those_of_a_look() -> None:
    paced = watched(api=3.0, ping=1.0)
    paced.world.kill("esx1")
    assert 15.0 <= paced.until_fenced() <= 18.0  # the last silent probe of the API began at least 15 s after the last life


def test_one_sample_that_serves_many_looks_is_one_probe() -> None:
    paced = watched(ping=1.0)
    paced.world.kill("esx1")
    paced.step()
    paced.paces["api"] = 14.0  # one silent probe, and looks each second
    paced.run(13)
    assert paced.world.fences() == {}
    paced.run(14)  # the second one
    assert paced.world.fences() == {}


@pytest.mark.parametrize("read_between", [True, False])
def test_a_reading_between_two_looks_dates_the_last_write(read_between: bool) -> None:
    """The host wrote until a second after a look, and died; the next look comes seconds later, and is the first to see that it wrote."""
    paced = watched()
    host = paced.world.hosts["esx1"]
    host.counter += 1
    paced.world.kill("esx1")
    paced.world.now += 1.0
    read = paced.world.at()
    paced.world.now += 4.0
    while "esx1" not in paced.world.fences():
        for other in ("esx2", "esx3"):
            paced.world.hosts[other].counter += 1
        look = paced.look()
        if read_between:
            server = look.storage[0]
            sessions = tuple(dataclasses.replace(one, still_since=read) for one in server.sessions or ())
            look = dataclasses.replace(look, storage=(dataclasses.replace(server, sessions=sessions),))
        paced.world.step(0.0, look)
        took = paced.world.now - read.seconds
        paced.world.now += 1.0
        assert took < 40.0
    assert took == (15.0 if read_between else 19.0)


def test_what_a_run_hears_first_is_dated_by_its_own_look() -> None:
    """Another run, in a process whose readings went on: it has listened to nothing of what was before it."""
    paced = watched()
    paced.world.run_id = "another"
    read = paced.world.at()
    paced.world.now += 5.0
    paced.world.hosts["esx1"].counter += 1
    look = paced.look()
    server = look.storage[0]
    sessions = tuple(dataclasses.replace(one, still_since=read.after(1.0)) for one in server.sessions or ())
    paced.world.step(0.0, dataclasses.replace(look, storage=(dataclasses.replace(server, sessions=sessions),)))
    silence = next(item for item in paced.world.memory.host("esx1").silences if item.path.startswith("storage"))
    assert silence.since == server.taken_at


def test_life_is_dated_by_its_answer_and_not_by_the_looks_that_it_serves() -> None:
    paced = watched(api=8.0)
    paced.run(8.0 - (paced.world.now % 8.0))
    paced.paces["api"] = 8.0
    paced.samples.clear()
    paced.step()  # alive, at this moment
    paced.world.kill("esx1")
    paced.run(7)
    paced.paces["api"] = 1.0
    # 15 s from the answer; the looks since have shown it seven times more
    assert paced.until_fenced() <= 9.0


@pytest.mark.parametrize("path", ["api", "ping", "power"])
def test_a_sample_older_than_confirm_after_says_nothing(path: str) -> None:
    paced = watched()
    paced.world.hosts["esx1"].bmc, paced.world.hosts["esx1"].power = True, Power.ON
    paced.step()
    paced.paces[path] = 1000.0
    paced.run(15)
    found = {"api": lambda host: host.api, "ping": lambda host: host.ping, "power": lambda host: host.power}[path]

    def seen() -> object:
        return next(found(host) for host in paced.world.last.hosts if host.host == "esx1")

    assert seen() in (Evidence.OK, Power.ON)
    paced.run(2)
    if path == "ping":  # of a host that answers its API the address answers
        paced.paces["api"] = 1000.0
        paced.run(17)
    assert seen() in (Evidence.UNKNOWN, Power.UNKNOWN)


def test_a_word_from_before_is_not_held_against_a_host_whose_storage_has_failed() -> None:
    """Row 6 never uses what was read before: the host said that its datastore was gone, and has not been asked since."""
    paced = watched()
    paced.world.hosts["esx1"].accessible = False
    paced.step()
    paced.world.hosts["esx1"].writes = False
    paced.paces["api"] = 14.0
    rows = []
    for _look in range(13):
        paced.step()
        rows.append(paced.world.row("esx1"))
    assert 6 not in rows and rows[-1] == 7
    paced.paces["api"] = 1.0
    paced.step()
    assert paced.world.row("esx1") == 6


def test_power_that_was_off_before_the_api_answered_is_no_proof() -> None:
    """Its BMC said off, then somebody switched it on: it has answered since, and its ping was lost once."""
    paced = watched(api=5.0)
    host = paced.world.hosts["esx1"]
    host.bmc, host.power, host.writes = True, Power.OFF, False
    paced.run(12)
    paced.samples.clear()
    paced.step()
    paced.paces["power"] = 1000.0
    paced.paces["api"] = 0.0
    paced.step()
    paced.paces["api"] = 14.0
    host.ping = Evidence.FAILED
    paced.run(10)
    assert (paced.world.row("esx1"), paced.world.fences()) == (3, {})


def test_three_readings_of_its_word_are_needed_however_many_looks_there_are() -> None:
    paced = watched()
    paced.world.hosts["esx1"].writes = False
    paced.run(30)
    paced.world.hosts["esx1"].accessible = False
    paced.paces["api"] = 5.0
    assert 15.0 <= paced.until_fenced() <= 25.0


def test_an_uptime_that_serves_several_looks_is_no_restart() -> None:
    paced = watched()
    paced.world.hosts["esx1"].booted = paced.world.now - 1.0
    paced.step()
    paced.paces["api"] = 14.0
    paced.run(14)
    paced.paces["api"] = 0.0
    paced.world.hosts["esx1"].booted = paced.world.now - 16.0
    paced.step()
    assert not any(vm.restart for vm in paced.world.memory.vms)
    assert next(host for host in paced.world.last.hosts if host.host == "esx1").verdict is Verdict.HEALTHY


def test_a_list_of_vms_that_is_old_is_not_read_though_the_host_answers() -> None:
    paced = watched()
    listed, old = paced.look().vms, paced.world.at()
    paced.world.vms["vm1"].power = Power.OFF  # which only a new list would show
    for after in (15.0, 1.0):
        paced.world.now += after
        paced.world.step(0.0, dataclasses.replace(paced.look(), vms=listed))
        read = paced.world.memory.host("esx1").read_at
        assert read is not None and read.seconds == old.seconds
    late = dataclasses.replace(paced.look(), vms=tuple(vm for vm in listed if vm.name != "vm1"))
    paced.world.step(0.0, late)  # that an old list lacks a VM says nothing either
    assert next(vm for vm in paced.world.memory.vms if vm.name == "vm1").power is Power.ON


def test_a_restart_is_found_though_its_host_was_last_asked_long_before_the_last_look() -> None:
    """Its uptime was 3 s when it was asked and is 3 s now, 14 s later; the look before is 1 s ago."""
    paced = watched()
    host = paced.world.hosts["esx1"]
    host.booted = paced.world.now - 2.0
    paced.step()
    paced.paces["api"] = 14.5
    paced.run(13)
    host.booted = paced.world.now - 2.0
    for vm in ("vm1", "vm2"):
        paced.world.vms[vm].power = Power.OFF
    paced.paces["api"] = 0.0
    paced.step()
    assert [vm.restart for vm in paced.world.memory.vms if vm.host == "esx1"] == [True, True]


def test_a_vm_switched_off_just_after_its_list_was_read_is_not_taken_for_crashed() -> None:
    """The list has it running, the events have its power-off; the list serves another look, and its events are new only once."""
    paced = watched()
    before = paced.look()
    paced.world.event("esx1", "vm_powered_off", "vm1")
    look = dataclasses.replace(paced.look(), vms=before.vms)
    paced.world.step(0.0, look)
    paced.world.now += 1.0
    paced.world.step(0.0, dataclasses.replace(paced.look(), vms=before.vms, events=look.events))
    paced.world.vms["vm1"].power = Power.OFF
    paced.step()
    vm = next(vm for vm in paced.world.memory.vms if vm.name == "vm1")
    assert (vm.desired, vm.restart) == (Desired.STOPPED, False)


def test_a_guest_hangs_for_as_long_as_lists_of_vms_show_it() -> None:
    """The list of now, and those of the next seconds, are of the moment at which it had hung for 15 of 20 s."""
    rules = {"response": "reset", "failure_interval": 20, "io_interval": 20, "min_uptime": 1}
    paced = Paced(three_hosts(vm_monitoring=rules))
    vm = paced.world.vms["vm1"]
    vm.heartbeat, vm.io_idle = "green", 0.0
    paced.run(12)
    vm.heartbeat, vm.io_idle = "red", 300.0
    paced.run(15)
    listed = paced.look().vms
    for _look in range(8):  # as long as the storage may be without progress
        paced.world.now += 1.0
        decision = paced.world.step(0.0, dataclasses.replace(paced.look(), vms=listed))
        assert not any(isinstance(action, ResetAction) for action in decision.actions)
    paced.step()
    assert any(isinstance(action, ResetAction) for action in paced.world.last.actions)
