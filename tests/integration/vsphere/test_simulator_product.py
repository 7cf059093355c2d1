"""Product simulator of the role vmware_server: the program takes the configuration that the role writes, and is a host as installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from real_hosts import ESXSIM, ROOT, Authority, die_with_us, free_port

ROLE = ROOT / "roles/vmware_server"


def written(folder: Path, port: int, initiator: str) -> Path:
    """What the role's template makes of an inventory and the role's defaults; credentials and state lie in *folder*."""
    here = {"__vmware_server_simulator_credentials": str(folder), "__vmware_server_simulator_home": str(folder / "state")}
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_host": "127.0.0.1"}
    reach = {"libreha_port": port, "libreha_username": "root", "libreha_password": 'a "secret"', "libreha_initiator": initiator}
    hosts = {"esx0": host, "esx1": {**host, **reach}}
    inventory = {"libreha_hosts": {"hosts": hosts}, "libreha_storage": {"hosts": {"san1": {}}}}
    template = {"src": str(ROLE / "templates/simulator.json.j2"), "dest": str(folder / "config.json"), "mode": "0600"}
    variables = [str(ROLE / part / "main.yml") for part in ("defaults", "vars")]
    play = {"hosts": "esx1", "gather_facts": False, "vars_files": variables, "tasks": [{"ansible.builtin.template": template}]}
    (folder / "inventory.json").write_text(json.dumps(inventory))
    (folder / "play.json").write_text(json.dumps([play]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(folder / "inventory.json"), str(folder / "play.json")]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections")}
    done = subprocess.run([*command, "-e", json.dumps(here)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "config.json"


def test_the_program_takes_what_the_role_writes(tmp_path: Path, authority: Authority, ca_path: Path) -> None:
    (tmp_path / "state").mkdir()
    authority.issue("esx1", ["127.0.0.1"], tmp_path / "host.pem", tmp_path / "host.key")
    port, initiator = free_port(), "iqn.1998-01.com.vmware:esx1"
    config = written(tmp_path, port, initiator)
    assert json.loads(config.read_text())["iscsi"] == {"initiator": initiator, "host_index": 1}, "its place in the group, from 0 on"
    process = subprocess.Popen([str(ESXSIM), "--config", str(config)], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_us)
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == "ready"
        reach = Connection("esx1", hostname="127.0.0.1", port=port, username="root", password='a "secret"', ca_path=str(ca_path))
        with open_hypervisor(reach) as host:
            seen = host.health()
        assert (seen.api_answer, seen.networks, seen.memory_total) == (ApiAnswer.ANSWERED, ("VM Network",), 65536)
        assert seen.datastores == () and seen.initiators == (), "as installed: no adapter, no datastore"
    finally:
        process.kill()
        process.wait()
