"""The storage server's own health in a run of the monitor and in a drill: read when it is due, an alarm with what to do, and no more."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from .chain import Chain
from .conftest import MakeChain
from .test_faults import alarms

pytestmark = pytest.mark.lab

# The file system of the lab's LUN is the machine's own; a policy that calls any use too much stands for one that is full.
ANY_USE_IS_TOO_MUCH = {"interval": 1, "space_warning": 0.001, "metadata_warning": 0.001, "hysteresis": 0}
NO_USE_IS = {"interval": 1, "space_warning": 99.8, "space_critical": 99.9, "full_within": 1}


@pytest.mark.prove
def test_it_is_read_in_a_later_look_and_its_alarm_is_raised_once_and_ends(chain_of: MakeChain) -> None:
    chain = chain_of("--hosts", "2", "--vms", "2")
    chain.policy = {"storage_health": ANY_USE_IS_TOO_MUCH}
    run = chain.play("monitor")
    assert run.code == 0, run.log
    assert "storage server san1: yellow (" in run.log
    assert chain.play("monitor").code == 0
    raised = _health_alarms(chain)
    assert [text for text in raised if "lun.img" in text and "Next: free space on it" in text], raised
    assert not chain.journal("fence", "step", "action")

    drill = chain.play("drill")
    assert drill.code == 0, drill.log
    assert re.search(r"yellow: file system /\S*: [0-9.]+ % full", drill.log), drill.log

    chain.policy = {"storage_health": NO_USE_IS}
    assert chain.play("monitor").code == 0
    assert len(_health_alarms(chain)) == 2 * len(raised)  # each once more: that it ended
    assert "% full" not in alarms(chain)
    assert chain.referee()["ok"]


@pytest.mark.prove
def test_tools_that_hang_or_talk_nonsense_do_not_stop_the_monitor(
    chain_of: MakeChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, body in (("lvs", "sleep 60"), ("smartctl", "echo Segmentation fault")):
        (tools / name).write_text("#!/bin/sh\n%s\n" % body)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tools, os.environ["PATH"]))
    chain = chain_of("--hosts", "2", "--vms", "2")  # looks once, with site
    assert "not known: LVM: lvs did not end within 5 s" in alarms(chain)
    assert all(host["verdict"] == "healthy" for host in chain.record("hosts")["hosts"])
    assert chain.referee()["ok"]


def _health_alarms(chain: Chain) -> list[str]:
    return [entry["text"] for entry in chain.journal("alarm") if entry["key"].startswith("storage_health:san1:file system")]
