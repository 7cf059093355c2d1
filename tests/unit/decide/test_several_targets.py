"""Two storage servers: a host that loses one of them loses the VMs that lie there, and only those."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from ansible_collections.libreha.vmware.plugins.module_utils.decide import observations as seen
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Desired
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from decide_world import SHARED, Host, Power, Vm, World, initiator

TARGETS = {"san": "iqn.2026-01.lab:san", "san2": "iqn.2026-01.lab:san2"}
SECOND = "ds-second"
STORES = {SHARED: "san", SECOND: "san2"}


@dataclass
class TwoServers(World):
    """As World, with a datastore on each of two storage servers."""

    lost: set[tuple[str, str]] = field(default_factory=set)  # (host, server) whose path is gone
    cut: dict[tuple[str, str], float] = field(default_factory=dict)  # (host, server) -> since

    def look(self) -> seen.Observation:
        look = super().look()
        return dataclasses.replace(look, storage=tuple(self._server(name) for name in self.servers))

    def _see(self, host: Host) -> seen.HostObservation:
        look = super()._see(host)
        if host.api is not seen.ApiAnswer.ANSWERED:
            return look
        stores = tuple(
            seen.Datastore(uuid, uuid, accessible=self.reaches(host.name, server), luns=(seen.Lun(TARGETS[server], 1),))
            for uuid, server in STORES.items()
        )
        return dataclasses.replace(look, datastores=stores)

    def reaches(self, host: str, server: str) -> bool:
        return (host, server) not in self.lost and (host, server) not in self.cut

    def _server(self, name: str) -> seen.StorageObservation:
        if name in self.unasked:
            return seen.StorageObservation(name, self.at(), serving=None, reason="ssh timed out")
        sessions = [
            seen.Session(initiator(host.name), TARGETS[name], "s1", commands_done=host.counter, bytes_done=host.counter * 512)
            for host in self.hosts.values()
            if self.reaches(host.name, name) and host.writes
        ]
        admitted = tuple(initiator(host) for host in self.hosts if (host, name) not in self.cut)
        return seen.StorageObservation(
            name,
            self.at(),
            driver="tgt",
            serving=True,
            up_for=100000.0,
            sessions=tuple(sessions),
            access=(seen.TargetAccess(TARGETS[name], admitted, luns=(1,)),),
            fences=tuple(
                seen.Fence(host, initiator(host), 7, Instant(self.boot, since), confirmed=True)
                for (host, server), since in self.cut.items()
                if server == name
            ),
        )


def two_servers(**options: object) -> TwoServers:
    """vm1 lies on san, vm2 on san2, vm3 on both; all on esx1."""
    stores = {"vm1": (SHARED,), "vm2": (SECOND,), "vm3": (SHARED, SECOND)}
    world = TwoServers(
        hosts={name: Host(name) for name in ("esx1", "esx2", "esx3")},
        vms={name: Vm(name, "esx1", datastores=on) for name, on in stores.items()},
        policy=options,
        servers=("san", "san2"),
    )
    world.run(9)
    assert world.verdict("esx1") == "healthy"
    return world


def test_only_the_lost_server_is_fenced_and_only_its_vms_are_stopped() -> None:
    world = two_servers()
    world.lost.add(("esx1", "san"))
    world.run(9)
    assert world.verdict("esx1") == "storage_partly_lost"
    assert world.all_actions() == [], "not before it is confirmed"
    world.run(20)
    (action,) = [action for action in world.last.actions if action.kind == "fence"]
    assert action.storage == ("san",)
    assert action.vms == (world.vms["vm1"].id,)
    assert (action.power, action.stop) == (False, True)


def fenced_at_san() -> TwoServers:
    world = two_servers()
    world.lost.add(("esx1", "san"))
    world.run(30)
    world.cut["esx1", "san"] = world.now
    world.step(3)
    return world


def test_a_vm_starts_elsewhere_only_when_it_is_stopped_and_fenced_where_it_lies() -> None:
    world = fenced_at_san()
    assert world.plan() == {}
    assert "may still execute" in world.held("vm1")
    world.vms["vm1"].power = Power.OFF
    world.event("esx1", "vm_powered_off", "vm1")  # our own doing
    world.step(3)
    assert set(world.plan()) == {"vm1"}
    assert world.record("vm1").desired is Desired.STARTED
    assert world.failovers()["esx1"].reasons[0] == "esx1 is fenced, confirmed on san"


def test_the_vms_on_the_other_server_run_on_and_one_that_spans_both_is_held() -> None:
    world = fenced_at_san()
    world.vms["vm1"].power = Power.OFF
    world.step(3)
    assert world.verdict("esx1") == "degraded"
    assert world.record("vm2").host == "esx1"
    assert "not fenced at san2, where the VM lies too" in world.held("vm3")


def test_a_host_that_then_dies_is_fenced_everywhere_after_its_own_confirmation() -> None:
    world = fenced_at_san()
    world.vms["vm1"].power = Power.OFF
    world.run(6)
    world.kill("esx1")
    world.run(9)
    assert not [action for action in world.last.actions if action.kind == "fence"]
    world.run(25)
    (action,) = [action for action in world.last.actions if action.kind == "fence"]
    assert action.storage == ("san", "san2")
    world.cut["esx1", "san2"] = world.now
    world.step(3)
    assert world.verdict("esx1") == "fenced"
    assert {"vm1", "vm2", "vm3"} <= set(world.plan())


def test_a_whole_fence_of_which_one_server_is_missing_starts_nothing_that_lies_there() -> None:
    world = two_servers()
    world.kill("esx1")
    world.run(30)
    world.cut["esx1", "san"] = world.now
    world.unasked = {"san2"}
    world.step(3)
    assert world.verdict("esx1") == "fencing"
    assert list(world.plan()) == ["vm1"], "it lies on san alone, where the fence holds"
    assert "san2 could not be asked" in world.held("vm2")


def test_losing_one_server_on_most_hosts_is_held_by_the_brake() -> None:
    world = two_servers()
    for host in ("esx1", "esx2"):
        world.lost.add((host, "san"))
    world.run(60)
    assert world.all_actions() == []
    assert world.alarm("brake") is not None
