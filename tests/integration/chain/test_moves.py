"""Planned moves: hosts that work hand VMs over, and what happens when one of them dies meanwhile."""

from __future__ import annotations

import signal
import time

import pytest

from .chain import Chain, lab, wait_for
from .conftest import MakeChain

pytestmark = pytest.mark.lab


def registered(chain: Chain, host: str) -> list[str]:
    """The VMs that the host itself lists."""
    return sorted(vm["name"] for vm in chain.record("vms")["vms"] if vm["host"] == host)


def test_a_host_is_emptied_and_its_vm_moved_back(chain: Chain) -> None:
    (vm,) = chain.vms_of("esx1")
    emptied(chain)
    assert chain.referee()["ok"]
    before = chain.where()
    refused = chain.play("migrate", vm="%s,nobody,%s" % (vm, chain.vms_of("esx2")[0]), host="esx1")
    assert refused.code != 0
    assert "no VM nobody is known" in refused.log and "it is in maintenance" in refused.log
    assert (chain.where(), [row for row in chain.journal("person") if "nobody" in row["text"]]) == (before, []), "nothing was asked for"
    ended = chain.play("evacuate", host="esx1", end=True)
    assert ended.code == 0, ended.log
    plan = chain.play("migrate", "--check", vm=vm, host="esx1")
    assert (plan.code, "-> esx1" in plan.log, chain.where()) == (0, True, before), plan.log
    back = chain.play("migrate", vm=vm, host="esx1")
    assert back.code == 0, back.log
    assert "%s is on esx1 (moved by suspend)" % vm in back.log
    assert chain.where()[vm] == "esx1" and chain.referee()["ok"]


def emptied(chain: Chain) -> None:
    """esx1, by the playbook, after its check mode has changed nothing."""
    before = chain.where()
    plan = chain.play("evacuate", "--check", host="esx1", reason="a new fan")
    assert (plan.code, plan.changed) == (0, 0), plan.log
    assert chain.where() == before
    done = chain.play("evacuate", host="esx1", reason="a new fan")
    assert done.code == 0, done.log
    assert "esx1" not in chain.where().values()
    assert registered(chain, "esx1") == []
    steps = [entry["text"] for entry in chain.journal("step")]
    assert [text for text in steps if "suspend on esx1" in text]  # the lab's hosts have one CPU
    assert not [text for text in steps if "stop on esx1" in text]


@pytest.mark.prove
def test_a_vm_is_moved_and_a_host_that_was_emptied_gets_its_vms_back(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "6", automatic_moves="all")
    mine = chain.vms_of("esx1")
    two = chain.vms_of("esx2")
    done = chain.play("migrate", vm=",".join(two))
    assert done.code == 0, done.log
    assert all(
        chain.where()[vm] in ("esx1", "esx3") and "%s is on %s (moved by suspend)" % (vm, chain.where()[vm]) in done.log for vm in two
    )
    mine = sorted(vm for vm, host in chain.where().items() if host == "esx1")
    emptied(chain)
    back = chain.play("evacuate", host="esx1", end=True)
    assert back.code == 0, back.log
    assert [chain.where()[vm] for vm in mine] == ["esx1"] * len(mine)
    seen = chain.referee()
    assert seen["ok"], seen
    assert not chain.journal("fence")


@pytest.mark.prove
@pytest.mark.parametrize("host", ["esx1", "esx2"])
def test_a_host_that_dies_during_an_evacuation_is_failed_over_with_the_vms_that_were_on_their_way(chain_of: MakeChain, host: str) -> None:
    """esx1 is emptied onto esx2 and esx3; one of them dies while its VMs are on their way, a few at a time."""
    chain = chain_of("--hosts", "3", "--vms", "36", "--host-memory-mib", "131072")
    with chain.playing("evacuate", host="esx1", reason="a new fan") as run:
        wait_for("the first suspension", lambda: [entry for entry in chain.journal("step") if "suspend on esx1 begins" in entry["text"]])
        lab("fault", host, "kill")
        ended = run.finish()
    if host == "esx1":  # its VMs are safe, but a dead host enters no maintenance mode
        assert ended.code != 0 and "not in ESXi's maintenance mode" in ended.log, ended.log
    else:
        assert ended.code == 0, ended.log
    assert host not in chain.where().values()
    down = [name for name, where in chain.where().items() if where is None]
    assert not down, [entry["text"] for entry in chain.journal() if any(name in entry["text"] for name in down)] + [ended.log]
    assert chain.referee()["ok"]


@pytest.mark.prove
def test_a_monitor_that_is_killed_in_a_move_is_followed_by_one_that_ends_it(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "2", "--vms", "2")
    (vm,) = chain.vms_of("esx1")
    with chain.playing("migrate", vm=vm, host="esx2") as run:
        wait_for("the suspension", lambda: [entry for entry in chain.journal("step") if "suspend on esx1" in entry["text"]])
        run.signal(signal.SIGKILL)
    wait_for("the end of its lease", lambda: chain.play("monitor").code == 0 and chain.where()[vm])
    assert chain.where()[vm] in ("esx1", "esx2")
    assert chain.referee()["ok"]


@pytest.mark.prove
def test_twenty_vms_are_suspended_moved_and_resumed_and_the_referee_says_how_long_each_was_away(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "2", "--vms", "40", "--host-memory-mib", "131072")
    leaving = chain.vms_of("esx1")
    assert len(leaving) == 20
    began = time.monotonic()
    run = chain.play("evacuate", host="esx1", reason="a new fan", way="suspend")
    took = time.monotonic() - began
    assert run.code == 0, run.log
    seen = chain.referee()
    assert seen["ok"], seen
    assert {vm["host"] for vm in seen["vms"].values()} == {"esx2"}
    assert {(vm["records_lost"], vm["overlapping_writers"], vm["overlapping_execution_s"]) for vm in seen["vms"].values()} == {(0, 0, 0.0)}
    pauses = sorted(seen["vms"][name]["downtime_s"] for name in leaving)
    print("\n20 VMs in %.1f s with the playbook; pauses: median %.1f s, longest %.1f s; each: %s" % (took, pauses[10], pauses[-1], pauses))
