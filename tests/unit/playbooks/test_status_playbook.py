"""The playbook status: what a person reads when no resident monitor runs, which is the record."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import Desired, HostRecord, Memory, VmRecord
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from test_exit_status import play


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A record in which vm1 should run and is off."""
    url = "sqlite:///%s" % (tmp_path / "state.db")
    vm = VmRecord("ds:vm1/vm1.vmx", "vm1", "[ds] vm1/vm1.vmx", "esx1", Desired.STARTED, Power.OFF)
    with StateDatabase.open(url) as database:
        token = database.acquire_lease("run-1", 60).token
        with database.change(token) as change:
            change.memory(Memory(looked_at=clock.now(), hosts=(HostRecord("esx1"),), vms=(vm,)).to_dict())
            change.hosts([{"name": "esx1", "verdict": "healthy", "detail": {"confirmed": True}}])
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups = {"libreha_hosts": {"hosts": {"esx1": {}}}, "libreha_storage": {"hosts": {"san1": here}}}
    variables: dict[str, Any] = {"libreha_state_url": url, "libreha_socket": str(tmp_path / "monitor.sock")}
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {"children": groups, "vars": variables}}))
    return path


def test_it_shows_the_record_where_no_monitor_runs_and_fails_only_where_that_is_wanted(inventory: Path) -> None:
    done = play("status", inventory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the resident monitor does not answer; what follows is from the record" in done.stdout
    assert "vm1 DOWN, recorded on esx1: it is off on esx1" in done.stdout and "changed=0" in done.stdout
    wanted = play("status", inventory, libreha_status_fail=True)
    assert wanted.returncode != 0 and "1 VM is down: vm1" in wanted.stdout.rpartition("TASK [Fail")[2]
