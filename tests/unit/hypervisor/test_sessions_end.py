"""Monitor and ha_run, each as a process: one login for all looks, and one logout at SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from pyVmomi import vim
from scripted_host import ScriptedHost, properties

COLLECTIONS = Path(__file__).resolve().parents[3] / ".cache" / "collections"
HANG_GUARD = 240.0  # s
ENTRY = "ansible_collections.libreha.vmware.plugins.module_utils.entry"
RUN = """
import json, sys
from %s.ha_run import argument_spec, run
defaults = {name: spec.get("default") for name, spec in argument_spec().items()}
run({**defaults, **json.load(open(sys.argv[1]))}, False)
"""


def configuration(connection: Connection, folder: Path) -> dict[str, Any]:
    hosts = {name: {"initiator": "iqn.1998-01.com.vmware:%s" % name} for name in ("esx1", "esx2")}
    host = {
        "name": "esx1",
        "hostname": connection.hostname,
        "port": connection.port,
        "username": connection.username,
        "timeout": 2.0,
        "ca_path": connection.ca_path,
    }
    server = {"name": "san1", "driver": "tgt", "control_port": 31998, "fence_list": str(folder / "fences.json"), "timeout": 0.5}
    return {
        "policy": {"mode": "observe", "hosts": hosts, "storage": {"san1": {}}},
        "hosts": [host, {**host, "name": "esx2", "port": 9}],  # esx2 refuses, so that nothing is settled soon
        "storage": [server],
        "state_url": "sqlite:///%s/state.db" % folder,
    }


def monitor(folder: Path, given: dict[str, Any], password: str) -> list[str]:
    given["socket"] = str(folder / "monitor.sock")
    (folder / "config.json").write_text(json.dumps(given))
    secrets = folder / "secrets.json"
    secrets.write_text(json.dumps({"hosts": dict.fromkeys(("esx1", "esx2"), {"password": password})}))
    secrets.chmod(0o600)
    return ["-m", ENTRY + ".monitor", "--config", str(folder / "config.json")]


def ha_run(folder: Path, given: dict[str, Any], password: str) -> list[str]:
    for one in given["hosts"]:
        one["password"] = password
    given["storage"][0].update(saved_config=None, ssh=None)
    (folder / "params.json").write_text(json.dumps(given))
    return ["-c", RUN % ENTRY, str(folder / "params.json")]


@pytest.mark.parametrize(("program", "ends_with"), [(monitor, 0), (ha_run, -signal.SIGTERM)])
def test_all_looks_use_one_session_and_sigterm_ends_it(
    program: Callable[..., list[str]], ends_with: int, host: ScriptedHost, connect: Callable[..., Connection], tmp_path: Path
) -> None:
    host.replies["RetrievePropertiesEx"] = properties((vim.HostSystem("ha-host"), {"name": "esx1"}))
    host.replies["RetrieveHardwareUptime"] = 100
    connection = connect(host.port)
    given = configuration(connection, tmp_path)
    StateDatabase.open(given["state_url"]).close()
    command = [sys.executable, *program(tmp_path, given, connection.password)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(COLLECTIONS)}, stdout=log, stderr=log)
    try:
        end = clock.now().seconds + HANG_GUARD
        while host.asked.count("RetrieveHardwareUptime") < 3:  # one for each look
            assert process.poll() is None and clock.now().seconds < end, (tmp_path / "log").read_text()
            clock.sleep(0.05)
        process.terminate()
        assert process.wait(HANG_GUARD) == ends_with
    finally:
        process.kill()
        process.wait()
    assert (host.asked.count("Login"), host.asked.count("Logout")) == (1, 1)
    text = (tmp_path / "log").read_text()
    assert "Traceback" not in text and connection.password not in text
