"""What a person does by hand: test a fence, give a word, look without acting, run twice at once."""

from __future__ import annotations

import signal

import pytest

from .chain import Chain, lab, wait_for
from .conftest import MakeChain
from .test_faults import alarms, moved

pytestmark = pytest.mark.lab


def fences(chain: Chain) -> list[dict[str, object]]:
    found: list[dict[str, object]] = chain.module("iscsi_session_info", chain.storage_arguments())["storage"]["fences"]
    return found


@pytest.mark.parametrize("bmc", [True, False])
def test_the_fence_test_fences_an_empty_host_and_lets_it_in_again(chain_of: MakeChain, bmc: bool) -> None:
    chain = chain_of("--hosts", "3", "--vms", "2", *([] if bmc else ["--no-bmc"]))
    assert chain.vms_of("esx3") == []
    done = chain.play("fence_test", host="esx3")
    assert done.code == 0, done.log
    assert fences(chain) == []
    assert [entry for entry in chain.journal("fence") if "fence test of esx3 passed" in entry["text"]]
    busy = chain.play("fence_test", host="esx1")
    assert busy.code != 0
    assert "must answer, run no VM" in busy.log
    assert fences(chain) == []
    assert chain.referee()["ok"]


def test_a_persons_word_stands_in_for_a_bmc_that_died_with_its_host(chain_of: MakeChain) -> None:
    """With a BMC that cannot be asked nothing starts, until a person says that the host is off; the word is journaled."""
    chain = chain_of("--hosts", "3", "--vms", "3")
    own = chain.folder / "lab" / "inventory" / "host_vars"
    own.mkdir()
    bmc = {**chain.variables("esx1")["libreha_bmc"], "address": "https://127.0.0.1:9"}
    (own / "esx1.yml").write_text("libreha_bmc: %r\n" % bmc)
    lab("fault", "esx1", "kill")
    held = chain.play("monitor", libreha_max_looks=12)
    assert held.code != 0, held.log
    assert not chain.journal("step")
    assert "may still execute there" in alarms(chain)
    moved(chain, chain.play("failover", host="esx1", confirmed_off="esx1", reason="its plug is pulled"))
    (word,) = chain.journal("person")
    assert "its plug is pulled" in word["text"]


def test_observe_and_check_mode_look_and_change_nothing(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "3")
    lab("fault", "esx1", "kill")
    for options, extra in (([], {"libreha_mode": "observe"}), (["--check"], {})):
        look = chain.play("monitor", *options, **extra)
        assert (look.code, look.changed) == (0, 0), look.log
        assert fences(chain) == []
        assert not chain.journal("step")
        assert "esx1 dead" in look.log or (not extra and "esx1 unknown" in look.log)


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
