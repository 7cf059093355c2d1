"""Rolling maintenance: every host is emptied, restarted by the user's own tasks, and gets its VMs back; a host that stays away ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from .chain import LAB, Chain
from .conftest import MakeChain

pytestmark = pytest.mark.lab


def tasks_that(folder: Path, action: str) -> str:
    """A user's task file: the host's power button."""
    command = "%s power {{ libreha_rolling_host }} %s" % (LAB, action)
    task = {"name": "Press its power button", "ansible.builtin.command": {"cmd": command}}
    path = folder / "own_tasks.yml"
    path.write_text(yaml.safe_dump([{**task, "changed_when": True}]))
    return str(path)


def in_maintenance(chain: Chain) -> list[str]:
    return sorted(entry["subject"] for entry in chain.journal("maintenance") if "entered" in entry["text"])


def rolled(chain: Chain, tmp_path: Path, hosts: list[str]) -> dict[str, Any]:
    """The referee's view after a run over *hosts*."""
    only = {"host": ",".join(hosts)} if len(hosts) < len(chain.status["hosts"]) else {}
    before = chain.where()
    plan = chain.play("rolling", "--check", libreha_rolling_tasks=tasks_that(tmp_path, "cycle"), reason="a patch", **only)
    assert (plan.code, plan.changed) == (0, 0), plan.log
    assert chain.where() == before and not chain.journal("maintenance")
    done = chain.play("rolling", libreha_rolling_tasks=tasks_that(tmp_path, "cycle"), reason="a patch", **only)
    assert done.code == 0, done.log
    assert in_maintenance(chain) == hosts
    assert chain.where() == before, "every VM is back where it was"
    seen = chain.referee()
    assert seen["ok"], seen
    assert not chain.journal("fence"), "a host in maintenance is not fenced for being restarted"
    return seen


def test_a_host_is_emptied_restarted_by_the_users_tasks_and_gets_its_vms_back(chain_of: MakeChain, tmp_path: Path) -> None:
    rolled(chain_of("--hosts", "2", "--vms", "2"), tmp_path, ["esx1"])


@pytest.mark.prove
def test_three_hosts_with_twelve_vms_are_restarted_one_after_the_other(chain_of: MakeChain, tmp_path: Path) -> None:
    seen = rolled(chain_of("--hosts", "3", "--vms", "12"), tmp_path, ["esx1", "esx2", "esx3"])
    pauses = {name: vm["downtime_s"] for name, vm in seen["vms"].items()}
    print("\nlongest pause of a VM: %.1f s; each: %s" % (max(pauses.values()), pauses))


@pytest.mark.prove
def test_it_stops_at_the_first_host_that_does_not_come_back(chain_of: MakeChain, tmp_path: Path) -> None:
    chain = chain_of("--hosts", "3", "--vms", "3")
    run = chain.play("rolling", libreha_rolling_tasks=tasks_that(tmp_path, "off"), reason="a patch", libreha_rolling_boots=15)
    assert run.code != 0
    assert "esx1 was not completed" in run.log and "-e host=esx2,esx3" in run.log
    assert in_maintenance(chain) == ["esx1"]
    assert "esx1" not in chain.where().values() and all(chain.where().values())
    assert chain.referee()["ok"]
