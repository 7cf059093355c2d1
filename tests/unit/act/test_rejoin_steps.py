"""The steps of letting a fenced host in again: what each does, and what it refuses although a look found nothing against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.act.fence import Run
from ansible_collections.libreha.vmware.plugins.module_utils.act.rejoin import Rejoined, Rejoining, RejoinWorld, rejoin_host
from ansible_collections.libreha.vmware.plugins.module_utils.act.runtime import Threads
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_power import HostWorld
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import RejoinAction, StaleVm
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import HostObservation, Power, VmObservation
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError, StaleToken
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Deadman, Permit
from ansible_collections.libreha.vmware.plugins.module_utils.storage.server import ServerAccess, Ssh, UnfenceRequest

ACCESS = HostAccess(Connection("esx1", "192.0.2.1", "root", "word"), (PowerDevice("esx1", "192.0.2.9"),))
SERVERS = {"san1": ServerAccess("san1"), "san2": ServerAccess("san2", ssh=Ssh("192.0.2.20"))}
UNFENCE = RejoinAction("esx1", "unfence", ("asked",), ("san1", "san2"))
GIVEN = "secret of esx1: a-new-secret"


def vm(name: str, power: Power = Power.OFF) -> VmObservation:
    return VmObservation("5f3b:%s/%s.vmx" % (name, name), "esx1", name, "[shared] %s/%s.vmx" % (name, name), clock.now(), power, name)


@dataclass
class World:
    """One host, two storage servers and a BMC, and what was asked of them, in order."""

    bench: Any
    vms: list[VmObservation] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    requests: list[UnfenceRequest] = field(default_factory=list)
    refuses: dict[str, Exception] = field(default_factory=dict)
    uses_chap: bool = False

    def step(self, action: RejoinAction, **changes: Any) -> Rejoined:
        hosts = HostWorld(self.opened, lambda calls, _seconds: {key: call() for key, call in calls.items()}, clock.now, Deadman)
        world = RejoinWorld(self.let_in, self.switch, self.renew_secret, hosts, Threads())
        run = Run("test", self.bench.token, 60.0)
        return rejoin_host(replace(Rejoining(action, ACCESS, SERVERS, self.bench.database, run, "a-new-secret", world), **changes))

    def journal(self) -> list[str]:
        return [entry["text"] for entry in self.bench.database.read_journal(kinds=["fence"])]

    @contextmanager
    def opened(self, access: HostAccess, guard: Callable[[], None] | None) -> Iterator[Any]:
        self.guard = guard
        yield self

    def let_in(self, server: ServerAccess, request: UnfenceRequest, permit: Permit) -> Mapping[str, Any]:
        permit.check("admit")
        self.asked.append(server.name)
        self.requests.append(request)
        if server.name in self.refuses:
            raise self.refuses[server.name]
        return {"changed": True, "chap_renewed": self.uses_chap}

    def switch(self, devices: Any, state: str, permit: Permit, machine: Any) -> Mapping[str, Any]:
        permit.check("switch")
        self.asked.append(state)
        return {"changed": True}

    # The host's API

    def renew_secret(self, access: HostAccess, secret: str, guard: Callable[[], None]) -> bool:
        guard()
        if "secret" in self.refuses:
            raise self.refuses["secret"]
        self.asked.append("secret of %s: %s" % (access.connection.name, secret))
        return True

    def health(self) -> HostObservation:
        return HostObservation("esx1", clock.now(), ApiAnswer.ANSWERED, uptime=50.0)

    def virtual_machines(self) -> list[VmObservation]:
        return self.vms

    def unregister(self, moid: str) -> None:
        assert self.guard is not None
        self.guard()
        if moid in self.refuses:
            raise self.refuses[moid]
        self.asked.append("unregister %s" % moid)

    def rescan_storage(self, timeout: float) -> None:
        assert self.guard is not None
        self.guard()
        self.asked.append("rescan")


@pytest.fixture
def world(bench: Any) -> World:
    return World(bench)


@pytest.mark.parametrize(("step", "state"), [("power_on", "on"), ("power_cycle", "cycled")])
def test_its_bmc_switches_it(world: World, step: str, state: str) -> None:
    assert world.step(RejoinAction("esx1", step, ())).changed
    assert world.asked == [state]
    with pytest.raises(LibrehaError, match="it has no BMC"):
        world.step(RejoinAction("esx1", step, ()), access=replace(ACCESS, bmc=()))


def test_what_was_ordered_is_unregistered_and_what_runs_is_left(world: World) -> None:
    world.vms = [vm("stale"), vm("own"), vm("runs", Power.ON), vm("refused")]
    world.refuses["refused"] = LibrehaError("not now", host="esx1")
    ended = world.step(
        RejoinAction("esx1", "unregister", (), stale=tuple(StaleVm(item.id, item.name, "esx2") for item in world.vms if item.name != "own"))
    )
    assert world.asked == ["unregister stale"]
    assert ended.changed
    assert [text for text in ended.failed if "runs runs on esx1" in text] and [text for text in ended.failed if "not now" in text]
    assert world.journal() == ["stale was unregistered on esx1; esx2 has it by now"]


def test_remote_storage_servers_are_opened_first_with_the_uptime_just_read(world: World) -> None:
    assert world.step(UNFENCE) == Rejoined(True)
    assert world.asked == ["san2", "san1"], "the host is left with its secret: no server replaced it"
    assert {(item.host, item.uptime, item.word, item.chap_secret) for item in world.requests} == {("esx1", 50.0, "", "a-new-secret")}
    assert abs(world.requests[0].read_at - clock.now().seconds) < 60
    assert [text.partition(":")[0] for text in world.journal()] == ["esx1 was let in again at san2", "esx1 was let in again at san1"]
    assert "a-new-secret" not in repr(world.requests) + "".join(world.journal())


def test_where_a_remote_one_refuses_the_own_one_is_not_opened(world: World) -> None:
    world.refuses["san2"] = LibrehaError("not unfenced: it was not restarted since", host="esx1")
    ended = world.step(UNFENCE)
    assert (world.asked, ended.changed) == (["san2"], False)
    assert "san2: " in ended.failed[0] and "not restarted since" in ended.failed[0]


def test_a_run_that_was_replaced_lets_nobody_in(world: World) -> None:
    world.refuses["san2"] = StaleToken("another run has acted since")
    with pytest.raises(StaleToken):
        world.step(UNFENCE)
    assert world.asked == ["san2"]
    world.bench.database.release_lease("test", world.bench.token)
    with pytest.raises(LeaseLost):
        world.step(UNFENCE)
    assert world.asked == ["san2"]


def test_a_host_whose_secret_was_replaced_is_given_the_new_one(world: World) -> None:
    world.uses_chap = True
    assert world.step(UNFENCE) == Rejoined(True)
    assert world.asked == ["san2", "san1", GIVEN]
    assert world.journal()[-1] == "esx1 was given its new CHAP secret"
    assert "a-new-secret" not in "".join(world.journal())


def test_a_host_that_does_not_take_the_secret_is_let_in_and_a_person_is_asked_for(world: World) -> None:
    world.uses_chap = True
    world.refuses["secret"] = LibrehaError("its licence forbids changes", host="esx1")
    assert world.step(UNFENCE) == Rejoined(True)
    assert world.asked == ["san2", "san1"]
    asked_for = world.journal()[-1]
    assert "its licence forbids changes" in asked_for and "set it there by hand" in asked_for and "a-new-secret" not in asked_for


def test_a_host_that_works_with_another_storage_server_keeps_its_secret(world: World) -> None:
    world.uses_chap = True
    world.step(replace(UNFENCE, storage=("san1",)))
    assert world.asked == ["san1"]
    assert "another storage server" in world.journal()[-1]


def test_where_one_server_refuses_the_other_ones_secret_is_given_all_the_same(world: World) -> None:
    world.uses_chap = True
    world.refuses["san1"] = LibrehaError("its disk is full", host="esx1")
    assert world.step(UNFENCE).failed
    assert world.asked == ["san2", "san1", GIVEN]


def test_a_host_that_began_to_run_a_vm_since_the_look_is_not_let_in(world: World) -> None:
    world.vms = [vm("web1", Power.ON)]
    with pytest.raises(LibrehaError, match="it runs web1"):
        world.step(UNFENCE)
    assert world.asked == []


def test_a_word_goes_to_the_storage_servers_that_need_it(world: World) -> None:
    world.step(replace(UNFENCE, on_word=("san2",), word="alice: I pulled its plug"))
    assert [item.word for item in world.requests] == ["alice: I pulled its plug", ""]
    assert "alice: I pulled its plug says" in world.journal()[0]


def test_a_rescan_is_asked_inside_the_lease(world: World) -> None:
    assert world.step(RejoinAction("esx1", "rescan", ())).changed
    assert world.asked == ["rescan"]
