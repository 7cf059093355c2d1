"""Observers at their own pace: who is silent delays no look, and what an act may have changed is asked for after it."""

from __future__ import annotations

import dataclasses
import socket
import statistics
import threading
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer, Evidence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import (
    HostObservation,
    Observation,
    Power,
    Session,
    StorageObservation,
    VmObservation,
)
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection, HostUnavailable
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.observe import paced
from ansible_collections.libreha.vmware.plugins.module_utils.observe.paced import PacedObserver
from ansible_collections.libreha.vmware.plugins.module_utils.observe.pools import Pools
from ansible_collections.libreha.vmware.plugins.module_utils.observe.progress import ProgressReader
from ansible_collections.libreha.vmware.plugins.module_utils.observe.sampler import LastAnswer, Path, Sampler, SilenceProbe
from ansible_collections.libreha.vmware.plugins.module_utils.parallel import Late
from ansible_collections.libreha.vmware.plugins.module_utils.storage.server import ServerAccess
from pyVmomi import vim
from scripted_host import ScriptedHost, Silence, properties

Connect = Callable[..., Connection]


@pytest.fixture
def pools() -> Iterator[Pools]:
    with Pools() as opened:
        yield opened


@pytest.fixture
def silent() -> Iterator[int]:
    """A port at which the connection is accepted and nobody answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]


class Inventory:
    """A host's answers: everything that is read of it."""

    def __init__(self, host: ScriptedHost) -> None:
        self.power = "poweredOn"
        host.replies["RetrievePropertiesEx"] = self.answer
        host.replies["RetrieveHardwareUptime"] = 1000
        host.replies["QueryEvents"] = None

    def answer(self) -> Any:
        return properties(
            (vim.HostSystem("ha-host"), {"name": "esx1"}), (vim.VirtualMachine("12"), {"name": "vm", "runtime.powerState": self.power})
        )


def observer(
    pools: Pools, folder: FilePath, *connections: Connection, bmc: tuple[PowerDevice, ...] = (), confirm_after: float = 15.0
) -> PacedObserver:
    """With a storage server that does not serve."""
    server = ServerAccess("san1", control_port=31997, fence_list=str(folder / "fences.json"), timeout=0.5)
    return PacedObserver([HostAccess(connection, bmc) for connection in connections], (), [server], pools, confirm_after)


def look(paced_observer: PacedObserver, after: Instant) -> tuple[Observation, float]:
    began = clock.now().seconds
    seen = paced_observer.look({}, (), (), after)
    return seen, clock.now().seconds - began


def is_silent(host: HostObservation) -> bool:
    """Or nobody can tell, because this machine was late itself."""
    return host.api_answer is ApiAnswer.TIMED_OUT or (
        host.api_answer is ApiAnswer.NOT_ASKED and "this machine itself was" in host.api_reason
    )


def renamed(connection: Connection, name: str) -> Connection:
    return dataclasses.replace(connection, name=name)


def test_the_first_look_has_everything_and_a_silent_host_delays_no_other(
    host: ScriptedHost, connect: Connect, pools: Pools, silent: int, tmp_path: FilePath
) -> None:
    Inventory(host)
    start = clock.now()
    watching = observer(pools, tmp_path, connect(host.port), renamed(connect(silent, timeout=3.0), "esx2"))
    seen, _took = look(watching, start)
    assert seen.hosts[0].api_answer is ApiAnswer.ANSWERED and is_silent(seen.hosts[1])
    assert ([vm.power for vm in seen.vms], seen.vms_read) == ([Power.ON], ("esx1",))
    assert [server.serving for server in seen.storage] == [False]
    takes = []
    for _look in range(5):
        seen, took = look(watching, start)
        takes.append(took)
        assert is_silent(seen.hosts[1])
    assert statistics.median(takes) < 1.0  # the silent one takes 3 s each time
    times = seen.hosts[1].sampled
    assert times is not None and (times.api_answered.since(times.api) or 0.0) >= 2.9
    assert seen.vms_read == ("esx1",)


def test_each_path_is_asked_at_its_own_pace_and_dated_by_it(host: ScriptedHost, connect: Connect, pools: Pools, tmp_path: FilePath) -> None:
    Inventory(host)
    start = clock.now()
    watching = observer(pools, tmp_path, connect(host.port))
    seen, _took = look(watching, start)
    instants = set()
    until = clock.now().seconds + 4
    while clock.now().seconds < until:
        seen, _took = look(watching, start)
        times = seen.hosts[0].sampled
        assert times is not None
        assert -0.01 <= (seen.taken_at.since(times.api) or 0.0) < 3.0
        instants.add(times.api.seconds)
        clock.sleep(0.05)
    assert 2 <= len(instants) <= 6
    assert host.asked.count("Login") == 1


def test_after_an_act_the_look_waits_for_a_new_list_and_has_no_old_one(
    host: ScriptedHost, connect: Connect, pools: Pools, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paced, "PATIENCE", 1.0)
    inventory = Inventory(host)
    start = clock.now()
    watching = observer(pools, tmp_path, connect(host.port, timeout=4.0))
    seen, _took = look(watching, start)
    assert [vm.power for vm in seen.vms] == [Power.ON]
    inventory.power = "poweredOff"  # by an act, which has ended now
    acted = clock.now()
    seen, _took = look(watching, acted)
    assert [vm.power for vm in seen.vms] == [Power.OFF]
    assert all((vm.taken_at.since(acted) or 0.0) >= 0 for vm in seen.vms)
    host.replies["RetrievePropertiesEx"] = Silence
    acted = clock.now()
    seen, took = look(watching, acted)
    assert (seen.vms, seen.vms_read) == ((), ()), "a list from before the act"
    assert took < 3.5
    seen, took = look(watching, acted)
    assert seen.vms_read == () and took < 1.0, "it is waited for once"


def test_a_list_that_is_old_is_not_read_though_the_api_answers(
    host: ScriptedHost, connect: Connect, pools: Pools, tmp_path: FilePath
) -> None:
    inventory = Inventory(host)
    start = clock.now()
    watching = observer(pools, tmp_path, connect(host.port, timeout=10.0), confirm_after=1.5)
    seen, _took = look(watching, start)
    assert seen.vms_read == ("esx1",)
    clock.sleep(2.0)  # the next list comes 5 s after this one
    seen, _took = look(watching, start)
    assert (seen.hosts[0].api_answer, seen.vms_read, inventory.power) == (ApiAnswer.ANSWERED, (), "poweredOn")


def test_a_storage_server_that_has_not_answered_since_the_act_was_not_asked(
    host: ScriptedHost, connect: Connect, pools: Pools, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paced, "PATIENCE", 0.5)
    Inventory(host)
    hangs, looks_for_real = threading.Event(), paced.look_at
    goes_on = threading.Event()

    def look_at(server: ServerAccess) -> Callable[[], Any]:
        ask = looks_for_real(server)
        return lambda: (hangs.is_set() and goes_on.wait(60)) and None or ask()

    monkeypatch.setattr(paced, "look_at", look_at)
    watching = observer(pools, tmp_path, connect(host.port))
    seen, _took = look(watching, clock.now())
    assert seen.storage[0].serving is False
    hangs.set()
    seen, _took = look(watching, clock.now())
    assert seen.storage[0].serving is None and "since the last act" in seen.storage[0].reason
    goes_on.set()


def test_each_bmc_is_asked_and_another_one_in_the_configuration_is_asked_instead(
    host: ScriptedHost, connect: Connect, pools: Pools, tmp_path: FilePath
) -> None:
    Inventory(host)
    with socket.socket() as refuses:
        refuses.bind(("127.0.0.1", 0))
        first, second = (PowerDevice("esx1", "https://127.0.0.1:%d" % refuses.getsockname()[1], user, "pw", timeout=0.5) for user in "ab")
        start = clock.now()
        for device in (first, second):
            seen, _took = look(observer(pools, tmp_path, connect(host.port), bmc=(device,)), start)
            assert (seen.hosts[0].power, seen.hosts[0].has_bmc) == (Power.UNKNOWN, True)
            assert seen.hosts[0].power_reason
    assert host.asked.count("Login") == 1


def test_what_changes_is_news(host: ScriptedHost, connect: Connect, pools: Pools, tmp_path: FilePath) -> None:
    Inventory(host)
    start = clock.now()
    watching = observer(pools, tmp_path, connect(host.port))
    look(watching, start)
    clock.sleep(1.5)
    look(watching, start)
    clock.sleep(1.5)
    assert not watching.news()
    host.replies["RetrievePropertiesEx"] = vim.fault.NoPermission(privilegeId="System.Read")
    until = clock.now().seconds + 30
    while not watching.news():
        assert clock.now().seconds < until
        clock.sleep(0.05)
    seen, _took = look(watching, start)
    assert seen.hosts[0].api_answer is ApiAnswer.LOGIN_REFUSED
    assert seen.vms_read == ()


def test_what_hangs_holds_one_thread_and_is_one_silent_probe(
    host: ScriptedHost, connect: Connect, pools: Pools, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name service: nothing can end that call. It is no evidence against the host."""
    over, for_real = threading.Event(), socket.getaddrinfo

    def resolve(name: Any, *arguments: Any, **options: Any) -> Any:
        if name == "hangs":
            over.wait(120)
        return for_real(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    watching = observer(pools, tmp_path, connect(host.port, timeout=0.5, hostname="hangs"))
    try:
        start = clock.now()
        look(watching, start)
        counts, asked = [], set()
        for _look in range(6):
            seen, _took = look(watching, start)
            assert (seen.hosts[0].api, seen.hosts[0].ping) == (Evidence.UNKNOWN, Evidence.UNKNOWN)
            times = seen.hosts[0].sampled
            assert times is not None
            asked.add(times.api.seconds)
            counts.append(threading.active_count())
            clock.sleep(0.3)
        assert len(asked) == 1
        assert max(counts) <= min(counts) + 2  # the storage server's own questions come and go
    finally:
        over.set()


def test_the_samplers_end_with_the_pools(host: ScriptedHost, connect: Connect, tmp_path: FilePath) -> None:
    Inventory(host)
    with Pools() as pools:
        look(observer(pools, tmp_path, connect(host.port)), clock.now())
    until = clock.now().seconds + 30
    while any(thread.name.startswith("sampler of") for thread in threading.enumerate()):
        assert clock.now().seconds < until, [thread.name for thread in threading.enumerate()]
        clock.sleep(0.05)
    assert (host.asked.count("Login"), host.asked.count("Logout")) == (1, 1)


def test_a_question_given_up_while_this_process_was_stopped_is_nobodys_silence() -> None:
    """A monitor that was frozen wakes up: what it had asked before has run out of its time meanwhile."""
    over = threading.Event()
    sampler = Sampler("x", Path(lambda: over.wait(60), 1.0, 0.2), lambda _news: None)
    until = clock.now().seconds + 30
    while not sampler.waiting():
        assert clock.now().seconds < until
    sampler._stalls._worst = 5.0
    clock.sleep(0.3)
    sample = sampler.newest()
    assert sample is not None and isinstance(sample.outcome, Late)
    assert "late" in sample.delay
    sampler.stop()
    over.set()


@pytest.mark.parametrize("confirm_after", [2.0, 0.9])
def test_a_silent_path_is_asked_briefly_at_the_moment_at_which_it_has_been_silent_for_long_enough(confirm_after: float) -> None:
    """Whole questions take 0.7 s: one that began before would put the one that confirms off. Never are there brief ones alone."""
    asked: list[tuple[str, float]] = []
    news: list[tuple[bool, float]] = []
    answer = LastAnswer()

    def whole() -> Evidence:
        asked.append(("whole", clock.now().seconds))
        if len(asked) == 1:
            return Evidence.OK
        clock.sleep(0.7)
        return Evidence.FAILED

    def brief() -> Evidence:
        asked.append(("brief", clock.now().seconds))
        return Evidence.FAILED

    silence = SilenceProbe(lambda outcome: outcome, brief, confirm_after, answer)
    path = Path(whole, 0.1, 5.0, essence=lambda _outcome: None, silence=silence)
    sampler = Sampler("x", path, lambda is_news: news.append((is_news, clock.now().seconds)))
    until = clock.now().seconds + 30
    while [how for how, _at in asked].count("brief") < 2:
        assert clock.now().seconds < until
        clock.sleep(0.05)
    sampler.stop()
    assert answer.at is not None
    for how, at in asked:
        assert how == "whole" or 0 <= (at - answer.at.seconds) % confirm_after < 0.5
    brief_ones = [number for number, (how, _at) in enumerate(asked) if how == "brief"]
    assert all(asked[number - 1][0] == "whole" for number in brief_ones)
    assert [is_news for is_news, _at in news[: brief_ones[0] + 1]] == [False] * brief_ones[0] + [True]


def test_a_host_that_accepts_no_connection_is_silent_in_a_brief_question(host: ScriptedHost, connect: Connect, pools: Pools) -> None:
    Inventory(host)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _number in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        silent_path = paced._api_path(pools, HostAccess(connect(full.getsockname()[1], timeout=20.0)), 60.0, 15.0, LastAnswer())
        assert silent_path.silence is not None
        began = clock.now().seconds
        with pytest.raises(HostUnavailable) as refused:
            silent_path.silence.ask_briefly()
        assert refused.value.answer is ApiAnswer.TIMED_OUT and clock.now().seconds - began < 10.0
        for one in waiting:
            one.close()
    answering = paced._api_path(pools, HostAccess(connect(host.port)), 60.0, 15.0, LastAnswer())
    assert answering.silence is not None
    assert isinstance(answering.silence.ask_briefly(), HostObservation)


def test_the_reading_that_found_counters_as_they_are_first_dates_them() -> None:
    """And one that could not tell begins anew, as does another session."""
    start = clock.now()
    readings = [("1", 5), ("1", 5), ("1", 6), ("1", 6), None, ("1", 6), ("2", 6), ("2", None), ("2", None)]
    told = iter(
        [
            StorageObservation(
                "san1", start.after(number), sessions=() if item is None else (Session("iqn:a", "iqn:t", item[0], "", item[1]),)
            )
            for number, item in enumerate(readings)
        ]
    )
    read = ProgressReader(lambda: next(told))
    dated = [[session.still_since for session in read().sessions or ()] for _reading in readings]
    assert dated == [[start.after(number)] if number is not None else [] for number in (0, 0, 2, 2, None, 5, 6, 7, 8)]


class Listed:
    """In place of a VmLook: one VM, where ``place`` says."""

    place = "esx1"

    def __init__(self, _sessions: Any, connection: Connection, _after: int, with_events: bool) -> None:
        self.name, self.events, self.gap, self.io_unread = connection.name, [] if with_events else None, None, ""
        self.vms: Any = None

    def read(self) -> None:
        vm = VmObservation("ds:vm/vm.vmx", self.name, "vm", "[ds] vm/vm.vmx", clock.now(), Power.ON)
        self.vms = [vm] if self.name == self.place else []


@pytest.mark.parametrize("asked_again", ["esx1", "esx2"])
def test_a_vm_that_was_moved_between_two_lists_is_neither_twice_nor_gone(
    host: ScriptedHost, connect: Connect, pools: Pools, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, asked_again: str
) -> None:
    """The list of its old host is of after the move and that of its new host of before; or the other way round."""
    monkeypatch.setattr(paced, "VMS", 3600.0)
    monkeypatch.setattr(paced, "VmLook", Listed)
    monkeypatch.setattr(Listed, "place", "esx1")
    Inventory(host)
    start = clock.now()
    watching = observer(pools, tmp_path, *(renamed(connect(host.port), name) for name in ("esx1", "esx2")), confirm_after=3600.0)
    seen, _took = look(watching, start)
    assert [vm.host for vm in seen.vms] == ["esx1"]
    monkeypatch.setattr(Listed, "place", "esx2")
    moved = clock.now()
    sampler = pools.samplers._running["vms", asked_again][1]
    assert pools.samplers.wait(lambda: sampler.hurry(moved), 60.0)
    seen, _took = look(watching, start)
    assert [vm.host for vm in seen.vms] == ["esx2"]
