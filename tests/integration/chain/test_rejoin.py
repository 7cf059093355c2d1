"""A fenced host on its way back, and a person's yes: the commands that the alarms name do what they say."""

from __future__ import annotations

import time

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor

from .chain import Chain, Run, lab
from .conftest import MakeChain
from .test_faults import alarms, moved
from .test_operator import fences

pytestmark = pytest.mark.lab

MARGIN = 30.0  # s by which a host must have been started after its fence


def listed(chain: Chain, host: str) -> dict[str, str]:
    """What *host* itself has registered, with the power of each."""
    found = chain.variables(host)
    user, password = found["libreha_username"], found["libreha_password"]
    access = Connection(host, found["ansible_host"], user, password, found["libreha_port"], ca_path=found["libreha_ca_path"])
    with open_hypervisor(access) as hypervisor:
        return {vm.name: vm.power.value for vm in hypervisor.virtual_machines()}


def let_in(chain: Chain, run: Run, host: str) -> None:
    """*host* is back, empty, and nothing ran twice or lost a record meanwhile."""
    assert run.code == 0, run.log
    assert fences(chain) == []
    assert listed(chain, host) == {}
    texts = [entry["text"] for entry in chain.journal("fence")]
    assert any(text.startswith("%s was let in again at san1: it has been running for" % host) for text in texts), texts
    after = chain.play("monitor")
    assert after.code == 0, after.log
    assert host not in alarms(chain)
    assert chain.referee()["ok"], chain.referee()


def test_a_killed_hosts_vms_come_back_elsewhere_and_it_is_let_in_again_by_the_command_that_its_alarm_names(chain_of: MakeChain) -> None:
    """With production's timings. A second run changes nothing, neither after the failover nor after the host's return."""
    chain = chain_of("--hosts", "3", "--vms", "6", timings="production")
    lab("fault", "esx1", "kill")
    moved(chain, chain.play("monitor"))
    again = chain.play("failover", host="esx1")
    assert (again.code, again.changed) == (0, 0), again.log
    assert "libreha.vmware.rejoin -e host=esx1" in alarms(chain)
    names = chain.vms_of("esx1")
    before = chain.journal()

    foreseen = chain.play("rejoin", "--check", host="esx1")
    assert foreseen.code == 0, foreseen.log
    assert "rejoin esx1: an operator asked for it" in foreseen.log or "a start is proved from 30 s on" in foreseen.log, foreseen.log
    assert ([line["host"] for line in fences(chain)], chain.journal()) == (["esx1"], before)

    let_in(chain, chain.play("rejoin", host="esx1"), "esx1")  # switched on by its BMC, once its fence is old enough
    unregistered = [
        entry["text"].partition(" was unregistered on esx1")[0] for entry in chain.journal("fence") if "unregistered" in entry["text"]
    ]
    assert sorted(unregistered) == names
    again = chain.play("rejoin", host="esx1")
    assert (again.code, again.changed) == (0, 0), again.log


@pytest.mark.prove
def test_after_a_hang_a_host_that_wakes_is_power_cycled_before_it_is_let_in(chain_of: MakeChain) -> None:
    """It wakes with its VM still executing and its writes queued; only its restart makes those impossible."""
    chain = chain_of("--hosts", "3", "--vms", "3")
    lab("fault", "esx1", "hang")
    moved(chain, chain.play("monitor"))
    lab("heal", "esx1")
    let_in(chain, chain.play("rejoin", host="esx1"), "esx1")


@pytest.mark.prove
def test_without_a_bmc_a_host_is_let_in_only_after_a_start_that_is_proved(chain_of: MakeChain) -> None:
    """It came back by itself so soon after its fence that nothing tells this start from one before it; a person restarts it."""
    chain = chain_of("--hosts", "3", "--vms", "3", "--no-bmc")
    lab("fault", "esx1", "kill")
    moved(chain, chain.play("monitor"), alarm="network duplicate possible")
    fenced = time.monotonic()
    lab("heal", "esx1")
    early = chain.play("rejoin", host="esx1", libreha_max_looks=8)
    assert early.code != 0, early.log
    assert "it has not been started afresh since the fence" in early.log, early.log
    assert [line["host"] for line in fences(chain)] == ["esx1"]
    lab("fault", "esx1", "kill")
    time.sleep(max(0.0, fenced + MARGIN + 1 - time.monotonic()))
    lab("heal", "esx1")
    let_in(chain, chain.play("rejoin", host="esx1"), "esx1")


@pytest.mark.prove
def test_in_mode_ask_the_yes_that_the_alarm_asks_for_can_be_given(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "3", mode="ask")
    before = chain.where()
    lab("fault", "esx1", "kill")
    asked = chain.play("monitor")
    assert "waits for a person's yes: fence esx1; give it with the playbook monitor, -e approve=NAME" in alarms(chain)
    assert "not carried out" in asked.log
    assert not fences(chain)
    assert not chain.journal("step")
    assert before == {**chain.where(), **dict.fromkeys(chain.vms_of("esx1"), "esx1")}
    moved(chain, chain.play("monitor", approve="esx1", reason="I saw it burn"))
    (yes,) = chain.journal("person")
    assert "I saw it burn" in yes["text"]
    orders = [entry["text"] for entry in chain.journal("action") if entry["data"].get("ordered")]
    assert [text for text in orders if text.startswith("ordered: fence esx1")]
    assert not [text for text in orders if "not carried out" in text]
