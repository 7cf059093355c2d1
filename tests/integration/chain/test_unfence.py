"""A fenced host on its way back, and a person's yes: the commands that the alarms name do what they say."""

from __future__ import annotations

import time

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor

from .chain import Chain, lab
from .conftest import MakeChain
from .test_faults import alarms, moved
from .test_operator import fences

pytestmark = pytest.mark.lab

MARGIN = 30.0  # s by which a host must have been started after its fence


def unregister_all(chain: Chain, host: str) -> None:
    found = chain.variables(host)
    user, password = found["libreha_username"], found["libreha_password"]
    access = Connection(host, found["ansible_host"], user, password, found["libreha_port"], ca_path=found["libreha_ca_path"])
    with open_hypervisor(access) as hypervisor:
        for vm in hypervisor.virtual_machines():
            hypervisor.unregister(vm.moid)


def test_a_fenced_host_is_let_in_again_by_the_command_that_its_alarm_names(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "3", "--vms", "3")
    lab("fault", "esx1", "kill")
    moved(chain, chain.play("monitor"))
    assert "libreha.vmware.unfence -e host=esx1" in alarms(chain)
    fenced = time.monotonic()

    silent = chain.play("unfence", host="esx1")
    assert silent.code != 0
    assert "esx1 does not answer" in silent.log
    time.sleep(max(0.0, fenced + MARGIN + 1 - time.monotonic()))
    lab("heal", "esx1")

    registered = chain.play("unfence", host="esx1")
    assert registered.code != 0
    (name,) = chain.vms_of("esx1")
    assert "esx1 still has %s registered" % name in registered.log, registered.log
    assert (registered.changed, [line["host"] for line in fences(chain)]) == (0, ["esx1"])
    unregister_all(chain, "esx1")

    done = chain.play("unfence", host="esx1")
    assert done.code == 0, done.log
    assert fences(chain) == []
    (entry,) = chain.journal("fence")
    assert entry["text"].startswith("esx1 was let in again at san1: it was started after the fence")
    again = chain.play("unfence", host="esx1")
    assert (again.code, again.changed) == (0, 0), again.log
    assert "it is let in already" in again.log
    after = chain.play("monitor")
    assert after.code == 0, after.log
    assert "esx1" not in alarms(chain)
    assert chain.referee()["ok"], chain.referee()


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
