"""The monitor that stays: runs follow each other, each under a lease and a token of its own, and nothing but a signal ends it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.act.worker import ForkServerGone
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import FailoverOrder, FenceOrder, Order
from ansible_collections.libreha.vmware.plugins.module_utils.decide.commands import Command, CommandKind
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError, StaleToken
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.service.client import STEPS_DOWN
from ansible_collections.libreha.vmware.plugins.module_utils.service.resident import PATIENCE, TICK
from resident_scene import Cluster, Service
from scene import LEASE, Scene


def carry_out(service: Service) -> Callable[[], None]:
    """What begins, is done and ends at the next wait."""

    def now() -> None:
        for order in list(service.scene.orders):
            if isinstance(order, FenceOrder):
                service.world.fence(order.action.host)
            elif isinstance(order, FailoverOrder):
                for vm in order.planned:
                    service.world.start(vm.name, vm.destination)
            service.scene.end(order)

    return now


def always(service: Service, what: Callable[[], Any]) -> None:
    """At each wait."""
    happen = service.scene.while_waiting

    def both() -> None:
        what()
        happen()

    service.scene.while_waiting = both


def journal(service: Service, *kinds: str) -> list[str]:
    return [entry["text"] for entry in service.scene.database.read_journal(kinds=kinds)]


def test_it_looks_for_ever_and_a_dead_host_is_fenced_and_failed_over_in_one_run(service: Service) -> None:
    always(service, carry_out(service))
    service.cluster.at(60, lambda: service.world.kill("esx1"))
    service.run(300)
    assert [type(order) for order in service.begun()] == [FenceOrder, FailoverOrder]
    assert len(service.cluster.runs) == 1
    gaps = [later - earlier for earlier, later in zip(service.cluster.looked_at, service.cluster.looked_at[1:])]
    assert max(gaps) <= 5.0 + TICK, "io_stale / 2 is the longest pause"
    assert service.cluster.looked_at[-1] >= 1290
    assert service.scene.database.lease()["holder"] == "", "the lease was not freed"


def test_while_a_host_is_suspect_it_looks_each_second(service: Service) -> None:
    killed = service.world.now + 60
    service.cluster.at(60, lambda: service.world.kill("esx1"))
    service.run(90)
    suspect = [at for at in service.cluster.looked_at if killed + 6 < at < killed + 14]
    assert len(suspect) >= 7, "a look each second"
    assert [str(order) for order in service.begun()] == ["fence esx1"]


def test_a_lost_lease_ends_the_run_and_a_new_one_begins_under_a_higher_token(service: Service) -> None:
    """As after a freeze: another run had the lease meanwhile."""

    def frozen() -> None:
        service.world.now += LEASE + 1
        with StateDatabase.open(service.cluster.state_url, clock=service.cluster.clock) as database:
            lease = database.acquire_lease("another", LEASE)
            database.release_lease("another", lease.token)

    service.cluster.at(30, frozen)
    service.cluster.at(100, lambda: service.world.kill("esx1"))
    service.run(200)
    first, second = service.cluster.runs
    assert second.token == first.token + 2
    assert second.holder != first.holder
    assert [str(order) for order in service.begun()] == ["fence esx1"], "what is under way is not ordered again"
    assert "<4>the lease with token %d is lost" % first.token in service.log.getvalue()


@pytest.mark.parametrize(
    "error", [StaleToken("token 3 is older than 4"), LeaseLost("over"), LibrehaError("the disk is full"), KeyError("esx9")]
)
def test_what_ends_a_run_ends_no_more_than_the_run(service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    broken = iter([True])

    def ended(_scene: Scene) -> Any:
        if service.world.now > 1040 and next(broken, False):
            raise error
        return []

    monkeypatch.setattr(Scene, "ended", ended)
    service.run(120)
    first, second = service.cluster.runs
    assert second.token > first.token
    assert service.cluster.looked_at[-1] > 1100
    told = service.log.getvalue()
    assert told.count("esx9" if isinstance(error, KeyError) else str(error)) == 1
    assert "at work again" in told


def test_committed_acts_of_a_run_that_ended_are_not_repeated_by_the_next(service: Service) -> None:
    """The fence was done; its run was lost before it heard so. The next run sees the fence, and orders none."""

    def lost() -> None:
        if service.scene.orders and len(service.cluster.runs) == 1:
            service.world.fence("esx1")
            service.scene.orders.clear()
            service.world.now += LEASE + 1

    always(service, lost)
    service.cluster.at(40, lambda: service.world.kill("esx1"))
    service.run(200)
    assert len(service.cluster.runs) == 2
    assert [str(order) for order in service.begun()] == ["fence esx1", "start 2 VMs"]


def test_a_refused_command_ends_nothing(service: Service) -> None:
    service.cluster.at(30, lambda: service.scene.database.give_commands([Command(CommandKind.STOP, "vm9", by="Ada")]))
    service.run(90)
    assert len(service.cluster.runs) == 1
    assert [text for text in journal(service, "person") if "no VM vm9 is known" in text]
    assert service.cluster.looked_at[-1] > 1080


def test_while_another_run_holds_the_lease_it_stands_by_and_takes_over_at_its_end(service: Service) -> None:
    other = service.scene.database.acquire_lease("ha_run on san1", LEASE)
    standing: list[dict[str, Any]] = []
    service.cluster.at(20, lambda: standing.append(service.monitor.status()))
    service.cluster.at(40, lambda: service.scene.database.release_lease("ha_run on san1", other.token))
    service.run(120)
    assert standing[0]["service"]["state"] == "standby"
    assert standing[0]["service"]["holder"] == "ha_run on san1"
    assert min(service.cluster.looked_at) - 1009 < 40 + 2 * TICK
    assert service.log.getvalue().count("<5>standby: ha_run on san1 holds the lease") == 1
    assert service.said.messages[0] == "READY=1"
    assert service.said.messages.count("WATCHDOG=1") > 60, "a standby is healthy"


def test_it_steps_down_for_who_asks_and_is_back_when_that_lease_is_free(service: Service) -> None:
    taken: list[Any] = []
    at = service.cluster.at
    at(30, service.monitor.step_down)
    at(32, lambda: taken.append(service.scene.database.acquire_lease("fence_test on san1", LEASE)))
    at(32 + LEASE / 2, lambda: service.scene.database.release_lease("fence_test on san1", taken[0].token))
    service.run(150)
    first, second = service.cluster.runs
    assert first.token < taken[0].token < second.token
    pause = [later for earlier, later in zip(service.cluster.looked_at, service.cluster.looked_at[1:]) if later - earlier > 10]
    assert len(pause) == 1 and pause[0] - (1009 + 32 + LEASE / 2) <= 2 * TICK
    said = [line for line in service.log.getvalue().splitlines() if "standby" in line]
    assert said == ["<5>standby: steps down for 30 s, as it was asked to", "<5>standby: fence_test on san1 holds the lease"]


def test_it_is_back_soon_where_nobody_takes_the_lease_for_which_it_stepped_down(service: Service) -> None:
    service.cluster.at(30, service.monitor.step_down)
    service.run(120)
    assert len(service.cluster.runs) == 2
    gaps = [later - earlier for earlier, later in zip(service.cluster.looked_at, service.cluster.looked_at[1:])]
    assert STEPS_DOWN <= max(gaps) < STEPS_DOWN + 10


def test_it_does_not_step_down_while_a_host_is_judged_or_something_is_under_way(service: Service) -> None:
    refused: list[str] = []

    def ask() -> None:
        with pytest.raises(LibrehaError) as why:
            service.monitor.step_down()
        refused.append(str(why.value))

    ask()
    service.cluster.at(60, lambda: service.world.kill("esx1"))
    service.cluster.at(70, ask)
    service.cluster.at(100, ask)
    service.run(110)
    assert refused == [
        "it has no lease to leave (starting)",
        "not now, a host is being judged, or something is to be done",
        "not now, under way: fence esx1",
    ]
    assert len(service.cluster.runs) == 1


def test_a_database_that_is_away_ends_the_run_and_is_waited_for(service: Service) -> None:
    """No watchdog meanwhile: systemd starts a monitor anew that cannot do its work for long."""

    def away() -> None:
        service.cluster.refuses = LibrehaError("state database: opening it failed: no such device")
        Path(service.scene.url.removeprefix("sqlite:///")).rename("%s.away" % service.scene.url.removeprefix("sqlite:///"))
        alive.append(service.said.messages.count("WATCHDOG=1"))

    def back() -> None:
        alive.append(service.said.messages.count("WATCHDOG=1"))
        service.cluster.refuses = None
        path = service.scene.url.removeprefix("sqlite:///")
        Path(path + ".away").rename(path)

    alive: list[int] = []
    problems: list[dict[str, Any]] = []
    service.cluster.at(30, away)
    service.cluster.at(60, lambda: problems.append(service.monitor.status()))
    service.cluster.at(90, back)
    service.run(200)
    assert alive[0] == alive[1]
    assert "no such device" in problems[0]["service"]["problem"]
    assert service.log.getvalue().count("no such device") == 1, "said once"
    assert service.cluster.looked_at[-1] > 1190
    assert [run.token for run in service.cluster.runs] == [1, 2]


def test_a_fork_server_that_is_gone_ends_the_process(service: Service) -> None:
    def gone(order: Order) -> None:
        raise ForkServerGone("the process that starts the acts is gone")

    service.scene.when_begun = gone
    service.cluster.at(20, lambda: service.world.kill("esx1"))
    with pytest.raises(ForkServerGone):
        service.run(500)


def test_sigterm_has_acts_come_to_their_end_and_frees_the_lease(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    finished: list[tuple[float, list[str]]] = []

    def finish(scene: Scene, seconds: float) -> bool:
        finished.append((seconds, [str(order) for order in scene.orders]))
        assert service.scene.database.lease()["alive"], "freed before its acts ended"
        scene.orders.clear()
        return True

    monkeypatch.setattr(Scene, "finish", finish)
    service.cluster.at(20, lambda: service.world.kill("esx1"))
    service.run(60)
    assert finished == [(PATIENCE, ["fence esx1"])]
    assert service.scene.database.lease()["holder"] == ""
    assert [message for message in service.said.messages if message.startswith("STOPPING")]


def test_what_does_not_end_in_time_is_handed_over_with_the_lease(service: Service) -> None:
    """The next run waits for the lock that the act holds, or for the lease's end."""
    service.cluster.at(20, lambda: service.world.kill("esx1"))
    service.run(60)
    (run,) = service.cluster.runs
    assert service.scene.database.lease()["holder"] == run.holder
    assert "<4>handed over to the next run: fence esx1" in service.log.getvalue()
    assert service.cluster.locks[0] is not None and service.cluster.locks[0].descriptor == -1, "this process holds its lock on"


def test_a_monitor_that_is_told_to_end_looks_no_more(service: Service) -> None:
    service.run(30.5)
    assert service.cluster.looked_at[-1] <= 1040.5
    assert service.world.now < 1041


# A new configuration


def reloaded(service: Service, with_what: Any, after: float = 30) -> None:
    service.rereads.append(with_what)
    service.cluster.at(after, service.monitor.reload)


def other_policy(service: Service, **options: Any) -> Cluster:
    policy = read_policy({**service.world.full_policy(), **options})
    cluster = dataclasses.replace(service.cluster)
    cluster.policy = policy
    service.scene.while_waiting = service.cluster._happen
    return cluster


def test_a_new_configuration_counts_from_the_next_look_on_in_the_same_run(service: Service) -> None:
    reloaded(service, other_policy(service, mode="observe"))
    service.cluster.at(60, lambda: service.world.kill("esx1"))
    service.run(120)
    assert service.begun() == [], "the mode is observe since"
    assert len(service.cluster.runs) == 1
    said = [message for message in service.said.messages if message.startswith(("READY", "RELOADING"))]
    assert [message.partition("\n")[0] for message in said] == ["READY=1", "RELOADING=1", "READY=1"]


def test_a_wrong_configuration_is_refused_as_a_whole_and_the_old_one_stays(service: Service) -> None:
    reloaded(service, LibrehaError("/etc/libreha/monitor.json: policy: unknown option confirm_aftr"))
    service.cluster.at(60, lambda: service.world.kill("esx1"))
    service.run(120)
    assert [str(order) for order in service.begun()] == ["fence esx1"]
    assert "<3>the new configuration is refused, the old one stays: /etc/libreha/monitor.json" in service.log.getvalue()


def test_another_database_begins_a_new_run_there(service: Service, tmp_path: Path) -> None:
    there = other_policy(service)
    there.state_url = "sqlite:///%s/other.db" % tmp_path
    StateDatabase.open(there.state_url).close()
    reloaded(service, there)
    service.run(120)
    assert service.scene.database.lease()["holder"] == ""
    with StateDatabase.open(there.state_url, clock=service.cluster.clock) as database:
        assert database.lease()["token"] == 1
        assert database.memory().hosts


def test_a_standby_takes_a_new_configuration_too(service: Service) -> None:
    service.scene.database.acquire_lease("another", 600)
    reloaded(service, other_policy(service, mode="observe"), 10)
    service.run(60)
    assert "the configuration was read anew" in service.log.getvalue()


# What is shown


def test_each_thing_that_happens_is_a_line_of_the_systems_log_once_with_its_priority(service: Service) -> None:
    always(service, carry_out(service))
    service.cluster.at(30, lambda: service.world.kill("esx1"))
    service.run(200)
    lines = service.log.getvalue().splitlines()
    journaled = [entry for entry in service.scene.database.read_journal() if not entry["key"].startswith("hold/")]
    for entry in journaled:
        text = " ".join(entry["text"].split())
        assert sum(line.endswith(text) for line in lines) == sum(" ".join(other["text"].split()).endswith(text) for other in journaled), (
            text
        )
    (fenced,) = [line for line in lines if "alarm: esx1 is fenced" in line and "cleared" not in line][:1]
    assert fenced.startswith("<4>")


def test_the_status_is_of_the_last_look_and_of_what_is_under_way(service: Service) -> None:
    seen: list[dict[str, Any]] = []
    service.cluster.at(20, lambda: service.world.kill("esx1"))
    service.cluster.at(60, lambda: seen.append(service.monitor.status()))
    service.run(70)
    (status,) = seen
    assert status["service"]["state"] == "looking"
    assert status["service"]["token"] == service.cluster.runs[0].token
    assert "fence esx1" in str(status["in_progress"])
    assert [message for message in service.said.messages if message.startswith("STATUS=") and "under way: fence esx1" in message]
