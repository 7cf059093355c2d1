"""What a person does by hand: test a fence, give a word, look without acting, run twice at once."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from .chain import Chain, lab, wait_for
from .conftest import MakeChain
from .test_faults import alarms, moved

pytestmark = pytest.mark.lab


def fences(chain: Chain) -> list[dict[str, object]]:
    found: list[dict[str, object]] = chain.module("iscsi_session_info", chain.storage_arguments())["storage"]["fences"]
    return found


def test_the_fence_test_fences_an_empty_host_and_lets_it_in_again(chain: Chain) -> None:
    fence_test(chain, bmc=True)


@pytest.mark.prove
def test_the_fence_test_of_a_host_without_a_bmc(chain_of: MakeChain) -> None:
    fence_test(chain_of("--hosts", "3", "--vms", "2", "--no-bmc"), bmc=False)


def fence_test(chain: Chain, bmc: bool) -> None:
    assert chain.vms_of("esx3") == []
    done = chain.play("fence_test", host="esx3")
    assert done.code == 0, done.log
    assert fences(chain) == []
    (entry,) = [entry for entry in chain.journal("fence") if "fence test of esx3 passed" in entry["text"]]
    assert ("switched off exactly this host" in entry["text"]) is bmc
    busy = chain.play("fence_test", host="esx1")
    assert busy.code != 0
    assert "must answer, run no VM" in busy.log
    assert fences(chain) == []
    assert chain.referee()["ok"]


def give_bmc(chain: Chain, host: str, bmc: object) -> None:
    own = chain.folder / "lab" / "inventory" / "host_vars"
    own.mkdir(exist_ok=True)
    (own / ("%s.yml" % host)).write_text("libreha_bmc: %s\n" % json.dumps(bmc))


@pytest.mark.prove
def test_a_bmc_that_says_it_is_another_hosts_is_never_used(chain_of: MakeChain) -> None:
    """Somebody mixed up the BMCs of esx2 and esx3."""
    chain = chain_of("--hosts", "3", "--vms", "1")
    two, three = (chain.variables(name)["libreha_bmc"] for name in ("esx2", "esx3"))
    give_bmc(chain, "esx2", three)
    give_bmc(chain, "esx3", two)
    assert chain.play("monitor").code != 0
    assert "esx3 has no power fencing: its BMC is that of esx2" in alarms(chain)
    done = chain.play("fence_test", host="esx3")
    assert done.code != 0
    assert "belongs to another machine" in done.log
    assert [host["up"] for host in lab("status")["hosts"]] == [True] * 3
    assert fences(chain) == []
    assert [entry for entry in chain.journal("fence") if "fence test of esx3 FAILED" in entry["text"]]


def by_agent(redfish: dict[str, Any]) -> list[dict[str, Any]]:
    """The same BMC through fence_redfish, which does not say whose it is."""
    account = {key: redfish[key] for key in ("username", "password")}
    options = {"systems_uri": redfish["system"], "ssl_insecure": True}
    address = redfish["address"].removeprefix("https://")
    return [{"driver": "fence_agent", "agent": "fence_redfish", "address": address, "options": options, **account}]


@pytest.mark.prove
def test_the_fence_test_finds_a_wrong_bmc_that_does_not_say_whose_it_is(chain_of: MakeChain) -> None:
    """A fence agent switches off esx2 where esx3 is meant: that is seen, and esx2 is switched on again."""
    chain = chain_of("--hosts", "3", "--vms", "1")
    two, three = (chain.variables(name)["libreha_bmc"] for name in ("esx2", "esx3"))
    give_bmc(chain, "esx2", [])
    give_bmc(chain, "esx3", by_agent(two))
    wrong = chain.play("fence_test", host="esx3")
    assert wrong.code != 0
    assert "esx3 still answers although its BMC says that it is off. Silent now: esx2" in wrong.log
    wait_for("esx2 to be up again", lambda: all(host["up"] for host in lab("status")["hosts"]))
    assert fences(chain) == []
    give_bmc(chain, "esx3", by_agent(three))
    right = chain.play("fence_test", host="esx3")
    assert right.code == 0, right.log
    assert [entry for entry in chain.journal("fence") if "its BMC switched off exactly this host" in entry["text"]]


@pytest.mark.prove
def test_a_persons_word_stands_in_for_a_bmc_that_died_with_its_host(chain_of: MakeChain) -> None:
    """With a BMC that cannot be asked nothing starts, until a person says that the host is off; the word is journaled."""
    chain = chain_of("--hosts", "3", "--vms", "3")
    own = chain.folder / "lab" / "inventory" / "host_vars"
    own.mkdir()
    bmc = {**chain.variables("esx1")["libreha_bmc"], "address": "https://127.0.0.1:9"}
    (own / "esx1.yml").write_text("libreha_bmc: %r\n" % bmc)
    lab("fault", "esx1", "kill")
    held = chain.play("monitor", libreha_max_looks=20)
    assert held.code != 0, held.log
    assert not chain.journal("step")
    assert "may still execute there" in alarms(chain)
    moved(chain, chain.play("failover", host="esx1", confirmed_off="esx1", reason="its plug is pulled"))
    assert any("its plug is pulled" in entry["text"] for entry in chain.journal("person"))


def test_observe_and_check_mode_look_and_change_nothing(chain: Chain) -> None:
    before = chain.journal("step")
    lab("fault", "esx1", "hang")
    for options, extra in (([], {"libreha_mode": "observe"}), (["--check"], {})):
        look = chain.play("monitor", *options, **extra)
        assert (look.code, look.changed) == (0, 0), look.log
        assert fences(chain) == []
        assert chain.journal("step") == before
        assert "esx1 dead" in look.log or (not extra and "esx1 unknown" in look.log)
    lab("heal", "esx1")


@pytest.mark.prove
def test_a_second_monitor_leaves_the_work_to_the_first(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "2", "--vms", "2")
    with chain.playing("monitor") as first:
        wait_for("the first run's lease", lambda: chain.record("lease")["lease"]["holder"])
        chain.freeze(first)
        second = chain.play("monitor")
        first.signal(signal.SIGCONT)
        assert first.finish().code == 0
    assert (second.code, second.changed) == (0, 0), second.log
    assert "holds the lease" in second.log
