"""The resident monitor in the lab: it stays, brings a dead host's VMs back by itself, and may be killed at any point of it."""

from __future__ import annotations

import signal
import time
from functools import partial

import pytest

from .chain import MOMENTS, Chain, Service, brought_up, lab, reached, wait_for
from .conftest import MakeChain
from .test_faults import moved
from .test_interrupted import connection, consistent, registered_once

pytestmark = pytest.mark.lab


def elsewhere(chain: Chain, host: str = "esx1") -> bool:
    """Whether every VM of *host* was brought up and verified."""
    return set(chain.vms_of(host)) <= brought_up(chain)


def test_it_brings_a_dead_hosts_vms_back_by_itself_then_moves_a_vm_on_request_and_ends_cleanly(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "6")
    service = Service(chain)
    with service.running() as run:
        wait_for("the first look", service.looks, 60)
        lab("fault", "esx1", "kill")
        wait_for("esx1's VMs elsewhere", partial(elsewhere, chain), 180)
        wait_for("nothing under way", lambda: not service.status()["in_progress"], 60)
        consistent(chain)
        one = chain.vms_of("esx2")[0]
        asked = chain.play("migrate", vm=one, host="esx3")
        assert asked.code == 0 and "holds the lease and carries it out" in asked.log, asked.log
        assert "%s is on esx3" % one in asked.log and chain.where()[one] == "esx3", asked.log
        refused = chain.play("migrate", vm=one, host="esx1")
        assert refused.code != 0 and "%s is not moved to esx1: esx1: " % one in refused.log, refused.log
        run.process.send_signal(signal.SIGTERM)
        done = run.finish()
    moved(chain, done)
    registered_once(chain)
    assert "Traceback" not in done.log, done.log
    lease = chain.record("lease")["lease"]
    assert (lease["holder"], lease["token"]) == ("", chain.journal("lease")[-1]["token"])
    begun = [entry for entry in chain.journal("lease") if "taken by" in entry["text"]]
    assert len(begun) == 2, "first_look, and one run of the service"


@pytest.mark.prove
def test_planned_work_is_carried_out_by_the_service_and_the_playbook_waits_for_its_outcome(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "3", automatic_moves="all")
    service = Service(chain)
    (one,) = chain.vms_of("esx2")
    with service.running() as run:
        wait_for("the first look", service.looks, 60)
        moved_by_it = chain.play("migrate", vm=one, host="esx3")
        assert moved_by_it.code == 0, moved_by_it.log
        assert "holds the lease and carries it out" in moved_by_it.log
        assert "%s is on esx3" % one in moved_by_it.log
        assert chain.where()[one] == "esx3"
        emptied = chain.play("evacuate", host="esx1", reason="a new fan")
        assert emptied.code == 0, emptied.log
        assert "esx1" not in chain.where().values()
        refused = chain.play("migrate", vm=one, host="esx1")
        assert refused.code != 0
        assert "%s is not moved to esx1: esx1: " % one in refused.log
        ended = chain.play("evacuate", host="esx1", end=True)
        assert ended.code == 0, ended.log
        lab("fault", "esx3", "kill")
        lost = chain.play("failover", host="esx3")
        assert lost.code == 0, lost.log
        assert "esx3" not in chain.where().values()
        back = chain.play("rejoin", host="esx3")
        assert back.code == 0, back.log
        assert "esx3 is in, and its storage works" in back.log
        works = chain.play("failover", host="esx3")
        assert works.code != 0
        assert "esx3 is healthy, so nothing is failed over" in works.log
        run.process.send_signal(signal.SIGTERM)
        done = run.finish()
    assert "Traceback" not in done.log, done.log
    assert [row for row in chain.record("transactions")["transactions"] if not row["closed"]] == []
    hosts = [connection(chain, name) for name in ("esx1", "esx2", "esx3")]
    listed = sorted(vm["name"] for vm in chain.module("vm_health_info", {"hosts": hosts})["vms"])
    assert listed == sorted(vm["name"] for vm in chain.status["vms"]), "each is registered once"
    assert chain.referee()["ok"], chain.referee()
    assert len([entry for entry in chain.journal("lease") if "taken by" in entry["text"]]) == 2, "first_look, and one run of the service"


@pytest.mark.prove
def test_it_steps_down_for_a_fence_test_and_is_back_afterwards(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "2")
    service = Service(chain)
    with service.running() as run:
        wait_for("the first look", service.looks, 60)
        tested = chain.play("fence_test", host="esx3", libreha_socket=str(service.socket))
        assert tested.code == 0, tested.log
        wait_for("the service's lease", lambda: chain.record("lease")["lease"]["holder"].startswith("monitor"), 60)
        lab("fault", "esx1", "kill")
        wait_for("esx1's VMs elsewhere", partial(elsewhere, chain), 180)
        run.process.send_signal(signal.SIGTERM)
        done = run.finish()
    moved(chain, done)
    assert [entry for entry in chain.journal("fence") if "fence test of esx3 passed" in entry["text"]]
    assert "Traceback" not in done.log, done.log


@pytest.mark.prove
def test_killed_at_every_step_of_a_failover_it_goes_on_within_seconds(chain_of: MakeChain) -> None:
    """As systemd does it: all of it is killed, and a new one is started a second later. The lease has a minute to go each time."""
    chain = chain_of("--hosts", "3", "--vms", "6", lease=60)
    service = Service(chain)
    with service.running():
        wait_for("the first look", service.looks, 60)
    lab("fault", "esx1", "kill")
    for moment in MOMENTS:
        with service.running():
            began = time.monotonic()
            tokens = len(chain.journal("lease"))
            wait_for("the lease", lambda tokens=tokens: len(chain.journal("lease")) > tokens, 30)
            assert time.monotonic() - began < 6, "it waited for the dead one's lease"
            wait_for("%s, or the end" % moment, lambda moment=moment: reached(chain, moment) or elsewhere(chain), 120)
    with service.running() as run:
        wait_for("esx1's VMs elsewhere", partial(elsewhere, chain), 180)
        wait_for("nothing under way", lambda: service.looks() and not service.status()["in_progress"], 60)
        run.process.send_signal(signal.SIGTERM)
        done = run.finish()
    moved(chain, done)
    consistent(chain)
    registered_once(chain)
    assert not [text for text in (path.read_text() for path in chain.folder.glob("service-*.log")) if "Traceback" in text]
