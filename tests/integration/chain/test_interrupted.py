"""A failover that is killed or frozen, at any point: the next run completes it, nothing is done twice, nothing is lost."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from functools import partial
from typing import Any

import pytest

from .chain import MOMENTS, Chain, Playing, lab, reached, wait_for
from .conftest import MakeChain, repetitions
from .test_faults import ends_as_it_stands, moved

pytestmark = pytest.mark.lab
LEASE = 20  # s; a killed run's lease must end before the next may act
STANDS = "network duplicate possible"  # of a host that is dead and has no power fencing


def reached_or_ended(chain: Chain, moment: str, run: Playing) -> bool:
    return reached(chain, moment) or run.process.poll() is not None


def consistent(chain: Chain) -> None:
    """Every transaction is closed, each VM was brought up once, and the journal has no gap."""
    record = chain.record("transactions", "journal")
    assert [row for row in record["transactions"] if not row["closed"]] == []
    verified = Counter(row["vm_name"] for row in record["transactions"] if row["outcome"] == "verified")
    assert verified == Counter(chain.vms_of("esx1")), record["transactions"]
    numbers = [entry["seq"] for entry in record["journal"]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    tokens = [entry["token"] for entry in record["journal"] if entry["token"]]
    assert tokens == sorted(tokens), "an entry was written under an older token than the one before it"


def registered_once(chain: Chain) -> None:
    """Each VM is registered on exactly one of the hosts that are not fenced."""
    hosts = [connection(chain, name) for name in ("esx2", "esx3")]
    vms = chain.module("vm_health_info", {"hosts": hosts})["vms"]
    assert Counter(vm["name"] for vm in vms) == Counter(vm["name"] for vm in chain.status["vms"]), vms


def connection(chain: Chain, host: str) -> dict[str, Any]:
    found = chain.variables(host)
    options = ("port", "username", "password", "ca_path")
    return {"name": host, "hostname": found["ansible_host"], **{name: found["libreha_%s" % name] for name in options}}


def complete(chain: Chain) -> None:
    """One more run brings everything to its end, and another one has nothing to do."""
    moved(chain, chain.play("failover", host="esx1"), alarm=STANDS)
    consistent(chain)
    registered_once(chain)
    again = chain.play("failover", host="esx1")
    ends_as_it_stands(again, STANDS)
    assert again.changed == 0, again.log


@pytest.mark.prove
def test_killed_at_every_journal_step_and_run_again_it_is_complete(chain_of: MakeChain) -> None:
    """One failover, killed at each of its steps in turn; every run goes on where the one before was killed."""
    chain = chain_of("--hosts", "3", "--vms", "6", "--no-bmc", lease=LEASE)
    lab("fault", "esx1", "kill")
    for moment in MOMENTS:
        with chain.playing("failover", host="esx1") as run:
            wait_for("%s or the end of the run" % moment, partial(reached_or_ended, chain, moment, run))
    complete(chain)


@pytest.mark.prove
@pytest.mark.parametrize("number", repetitions())
def test_killed_at_a_random_moment_and_run_again_it_is_complete(chain_of: MakeChain, number: int) -> None:
    seed = int(os.environ.get("LIBREHA_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    print("LIBREHA_SEED=%d" % seed)
    chain = chain_of("--hosts", "3", "--vms", "6", "--no-bmc", lease=LEASE)
    lab("fault", "esx1", "kill")
    with chain.playing("failover", host="esx1"):
        time.sleep(random.Random(seed + number).uniform(5, 70))
    complete(chain)


@pytest.mark.prove
def test_a_frozen_run_that_wakes_up_after_another_one_finished_does_nothing(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "6", "--no-bmc", lease=LEASE)
    lab("fault", "esx1", "kill")
    with chain.playing("failover", host="esx1") as frozen:
        wait_for("the first registration", lambda: reached(chain, "registering begins"))
        chain.freeze(frozen)
        complete(chain)
        before = chain.journal()
        frozen.signal(signal.SIGCONT)
        assert frozen.finish().code != 0, "a run that lost its lease must not report success"
    after = chain.journal()
    assert after == before, after[len(before) :]
    consistent(chain)
    registered_once(chain)


@pytest.mark.prove
def test_a_frozen_run_dies_before_it_can_act(chain_of: MakeChain) -> None:
    """The deadman: the module's process is gone after it was thawed, it did not merely refuse."""
    chain = chain_of("--hosts", "3", "--vms", "6", "--no-bmc", lease=LEASE)
    lab("fault", "esx1", "kill")
    with chain.playing("failover", host="esx1") as run:
        wait_for("the first registration", lambda: reached(chain, "registering begins"))
        modules = [pid for pid in run.pids() if holds_lease(pid)]
        chain.freeze(run)
        time.sleep(LEASE + 2)
        steps = len(chain.journal("step"))
        run.signal(signal.SIGCONT)
        wait_for("the end of the module", lambda: not set(modules) & set(living(run)))
        assert len(chain.journal("step")) == steps
    complete(chain)


def holds_lease(pid: int) -> bool:
    """Whether the process is the module ha_run, or one of its children that act."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as source:
            return b"ha_run" in source.read()
    except OSError:
        return False


def living(run: Playing) -> list[int]:
    return [pid for pid in run.pids() if holds_lease(pid)]
