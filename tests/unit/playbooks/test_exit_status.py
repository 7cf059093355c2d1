"""When a playbook ends green: not with an inventory that matches nothing, not in front of a critical alarm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
NO_TGTD = 32000  # a control port that no tgtd of this machine has


def play(name: str, inventory: Path, *options: str, **extra: Any) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "ansible-playbook"), "-i", str(inventory), "libreha.vmware.%s" % name, "-e", json.dumps(extra), *options]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A cluster of which nothing is there: a host that refuses connections, and this machine as storage server without a tgtd."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    server = {
        "driver": "tgt",
        "control_port": NO_TGTD,
        "fence_list": str(tmp_path / "fences.json"),
        "saved_config": str(tmp_path / "targets.conf"),
    }
    host = {"ansible_host": "127.0.0.1", "libreha_port": 1, "libreha_initiator": "iqn.1998-01.com.vmware:esx1"}
    access = {"libreha_username": "root", "libreha_password": "secret"}
    content = {
        "all": {
            "vars": {"libreha_state_url": "sqlite:///%s" % (tmp_path / "state.db")},
            "children": {
                "libreha_hosts": {"hosts": {"esx1": {**host, **access}}},
                "libreha_storage": {"hosts": {"san1": {**here, "libreha_storage": server}}},
            },
        }
    }
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump(content))
    return path


PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))


def first_play(name: str) -> dict[str, Any]:
    plays: list[dict[str, Any]] = yaml.safe_load((ROOT / "playbooks" / ("%s.yml" % name)).read_text(encoding="utf-8"))
    return plays[0]


def test_every_playbook_begins_by_checking_the_inventory_as_the_monitor_does() -> None:
    assert [name for name in PLAYBOOKS if first_play(name) != first_play("monitor")] == []


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name == "monitor" else pytest.mark.prove) for name in PLAYBOOKS])
def test_an_inventory_without_the_groups_does_not_end_green(name: str, tmp_path: Path) -> None:
    empty = tmp_path / "inventory.yml"
    empty.write_text(yaml.safe_dump({"all": {"hosts": {"some_other_machine": {}}}}))
    done = play(name, empty, host="esx1")
    assert done.returncode != 0, done.stdout
    assert "The inventory needs the groups libreha_hosts" in done.stdout


def test_an_arbiter_that_the_inventory_does_not_have_does_not_end_green(inventory: Path) -> None:
    done = play("monitor", inventory, libreha_arbiter="arbtier1")
    assert done.returncode != 0, done.stdout
    assert "libreha_arbiter" in done.stdout


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name == "monitor" else pytest.mark.prove) for name in PLAYBOOKS])
def test_a_limit_that_leaves_nothing_to_do_does_not_end_green(name: str, inventory: Path) -> None:
    done = play(name, inventory, "--limit", "esx1", host="esx1")
    assert done.returncode != 0, done.stdout
    assert "--limit esx1 leaves out san1" in done.stdout


def test_a_limit_to_the_arbiter_is_none_to_its_work(inventory: Path) -> None:
    done = play("drill", inventory, "--limit", "san1", host="esx1", libreha_max_looks=1)
    assert "leaves out" not in done.stdout
    assert "san1 " in done.stdout.partition("PLAY RECAP")[2]
    assert "TASK [Look until the storage evidence is there" in done.stdout, done.stdout


def test_a_drill_of_an_unknown_host_names_the_known_ones(inventory: Path) -> None:
    done = play("drill", inventory, host="esx9")
    assert done.returncode != 0, done.stdout
    assert "host names esx9; the hosts are esx1." in done.stdout


def test_a_wrong_policy_ends_every_playbook_before_a_machine_is_asked(inventory: Path) -> None:
    done = play("monitor", inventory, libreha_policy={"confirm_aftr": 15, "io_stale": "soon"})
    assert done.returncode != 0, done.stdout
    for word in ("libreha_policy.confirm_aftr", "confirm_after", "libreha_policy.io_stale: 'soon'", "Remedy"):
        assert word in done.stdout, done.stdout
    assert "Look, decide and act" not in done.stdout


@pytest.mark.parametrize("options", [(), pytest.param(("--check",), marks=pytest.mark.prove)])
def test_a_run_that_ends_before_a_critical_alarm_fails_and_names_it_unless_the_policy_says_otherwise(
    inventory: Path, options: tuple[str, ...]
) -> None:
    StateDatabase.open("sqlite:///%s" % (inventory.parent / "state.db")).close()
    done = play("monitor", inventory, *options, libreha_max_looks=1)
    assert done.returncode != 0, done.stdout
    failure = done.stdout.rpartition("TASK [Fail when")[2]
    assert "critical alarm: storage server san1" in failure and "fail_on_alarm" in failure
    assert "How it stands" in done.stdout
    accepted = play("monitor", inventory, *options, libreha_max_looks=1, libreha_policy={"fail_on_alarm": "none"})
    assert accepted.returncode == 0, accepted.stdout


@pytest.mark.parametrize("options", [("--check",), pytest.param((), marks=pytest.mark.prove)])
def test_preflight_shows_its_table_and_ends_by_the_worst_finding(inventory: Path, options: tuple[str, ...]) -> None:
    done = play("preflight", inventory, *options)
    assert done.returncode != 0, done.stdout
    shown, _task, failure = done.stdout.partition("TASK [Fail by the worst finding")
    assert "critical" in shown and "unknown" in shown and "api" in shown
    assert "esx1: its API was not read" in failure and "privileges" not in failure, failure
    assert "changed=0" in done.stdout and "secret" not in done.stdout
