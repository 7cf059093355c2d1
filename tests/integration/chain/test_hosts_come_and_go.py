"""Hosts that are taken out of the cluster for good, that are missing in the inventory, and that come in."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import FenceList

from .chain import Chain, lab
from .conftest import MakeChain

pytestmark = pytest.mark.lab


def without(inventory: str, host: str, copy: Path) -> str:
    """A copy of the inventory in which *host* does not stand."""
    shutil.copytree(inventory, copy)
    for path in copy.rglob("*.yml"):
        content = yaml.safe_load(path.read_text())
        for group in content.values() if isinstance(content, dict) else ():
            if isinstance(group, dict) and isinstance(group.get("hosts"), dict):
                group["hosts"].pop(host, None)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(copy)


def fenced(chain: Chain) -> list[str]:
    return [line.host for line in FenceList(chain.status["target"]["fence_list"]).read().entries]


def hosts_on_record(chain: Chain) -> list[str]:
    return sorted(host["name"] for host in chain.record("hosts")["hosts"])


def unchanged(chain: Chain, play: Callable[[], Any]) -> None:
    before = chain.where(), fenced(chain), chain.journal()
    play()
    assert (chain.where(), fenced(chain), chain.journal()) == before


@pytest.mark.prove
def test_a_host_is_taken_out_for_good_and_let_in_again(chain_of: MakeChain, tmp_path: Path) -> None:
    chain = chain_of("--hosts", "3", "--vms", "3")
    whole = chain.inventory
    planned: list[Any] = []
    unchanged(chain, lambda: planned.append(chain.play("host_remove", "--check", host="esx1", reason="its lease ends")))
    assert (planned[0].code, planned[0].changed) == (0, 0), planned[0].log
    gone = chain.play("host_remove", host="esx1", reason="its lease ends")
    assert gone.code == 0, gone.log
    assert "esx1 in the group" in gone.log and "in iscsi_target_initiators" in gone.log
    assert "esx1" not in chain.where().values() and all(chain.where().values())
    assert (fenced(chain), chain.referee()["ok"]) == (["esx1"], True)
    again = chain.play("host_remove", host="esx1", reason="its lease ends")
    assert (again.code, again.changed) == (0, 0), again.log
    refused = chain.play("host_add", host="esx1", libreha_set_up=False)
    assert refused.code != 0 and "let it in with the playbook rejoin" in refused.log, refused.log

    chain.inventory = without(whole, "esx1", tmp_path / "without")
    after = chain.play("monitor")
    assert after.code == 0, after.log
    assert (hosts_on_record(chain), "esx1" in chain.alarms()) == (["esx2", "esx3"], False)

    chain.inventory = whole
    back = chain.play("rejoin", host="esx1")
    assert back.code == 0, back.log
    added = chain.play("host_add", host="esx1", libreha_set_up=False)
    assert added.code == 0 and "it is a member" in added.log, added.log
    assert (fenced(chain), chain.referee()["ok"]) == ([], True)


@pytest.mark.prove
def test_a_host_that_is_missing_in_the_inventory_is_an_alarm_and_comes_back_as_it_was(chain_of: MakeChain, tmp_path: Path) -> None:
    chain = chain_of("--hosts", "3", "--vms", "3")
    whole = chain.inventory
    chain.inventory = without(whole, "esx2", tmp_path / "without")
    missing = chain.play("monitor")
    assert missing.code != 0, "an alarm about VMs that nobody watches is critical"
    assert "esx2 is not in the inventory any more" in chain.alarms()
    refused = chain.play("host_remove", host="esx2", reason="a test")
    assert refused.code != 0 and "put it back" in refused.log, refused.log
    chain.inventory = whole
    back = chain.play("monitor")
    assert back.code == 0, back.log
    assert "esx2" not in chain.alarms()
    assert lab("status")["hosts"][1]["up"] and chain.referee()["ok"]
