"""What playbooks/tasks/lease.yml makes of what the storage servers said, rendered by ansible itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

TASKS = Path(__file__).resolve().parents[3] / "playbooks" / "tasks"


@pytest.mark.parametrize(("seen", "above"), [([], 0), ([{"highest_token": 7}, {"highest_token": 9}], 9)])
def test_the_lease_is_above_every_token_that_was_heard(seen: list[Any], above: int) -> None:
    (task,) = yaml.safe_load((TASKS / "lease.yml").read_text(encoding="utf-8"))
    arguments = json.dumps({"msg": {"above": task["libreha.vmware.ha_state"]["above"]}})
    command = [str(Path(sys.executable).with_name("ansible")), "localhost", "-m", "ansible.builtin.debug", "-a", arguments]
    done = subprocess.run(
        [*command, "-e", json.dumps({"libreha_storage_seen": seen})], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(json.loads(done.stdout.partition("=>")[2])["msg"]["above"]) == above
