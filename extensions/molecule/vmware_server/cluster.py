#!/usr/bin/env python
"""A target and three hosts as installed, on loopback, for the scenario beside it: cluster.py start|end|untouched|restart FOLDER [HOST].

They are those of tests/integration/vsphere. `start` leaves a process behind that holds them, and returns when its inventory is written;
`end` ends that process, and the kernel ends what it had started. `restart` has it start a host afresh.
"""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HANG = 60  # seconds
SECRETS = {"esx1": "secret-of-esx1", "esx2": "secret-of-esx2", "esx3": "secret-of-esx3", "san": "secret-of-the-san"}


def hold(folder: Path) -> None:
    """Start everything, write the inventory, and start hosts afresh on request until it is ended."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "integration" / "vsphere")]
    importlib.import_module("conftest")  # makes the collection importable
    import yaml
    from real_hosts import TARGET, Authority, Host, StorageServer, missing

    if missing():
        raise SystemExit(missing())
    authority, storage = Authority(), StorageServer(folder)
    authority.write_ca(folder / "ca.pem")
    storage.overwrite(0, bytes(512))
    hosts = []
    for index in range(3):
        host = Host(storage, authority, index, bare=True, datastore={}, vmkernel_ports=["vmk0", "vmk1", "vmk2"])
        host.config["iscsi"] = {"initiator": host.initiator, "host_index": index}
        hosts.append(host.start())
    users = {host.name: host.initiator if host.name == "esx3" else host.name for host in hosts}  # esx3's account is its own by its name
    for name, secret in SECRETS.items():
        user = users.get(name, name)
        storage.admin("--op", "new", "--mode", "account", "--user", user, "--password", secret)
        storage.admin("--op", "bind", "--mode", "account", "--tid", "1", "--user", user, *(["--outgoing"] if user == "san" else []))
    address, port = storage.portal.rsplit(":", 1)
    mutual = {"mutual_user": "san", "mutual_secret": SECRETS["san"]}
    driver = {"driver": "tgt", "control_port": int(storage.control), "saved_config": str(folder / "targets.conf")}
    server = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "libreha_storage": {**driver, "fence_list": str(folder / "fences.json")},
        "iscsi_target_name": TARGET,
        "iscsi_target_portals": [{"address": address, "port": int(port), "floating": False}],
        "iscsi_target_luns": [{"name": "ds1", "number": 1, "volume_group": "vg", "size": "1GiB"}],
        "iscsi_target_initiators": [
            {
                "name": host.initiator,
                "chap": {"user": users[host.name], "secret": SECRETS[host.name], **(mutual if host.name != "esx3" else {})},
            }
            for host in hosts
        ],
    }
    reach = {"libreha_username": "root", "libreha_password": "VMware1!", "libreha_ca_path": str(folder / "ca.pem")}
    addresses = {host.name: {"ansible_host": "127.0.0.1", "libreha_port": host.port, "libreha_initiator": host.initiator} for host in hosts}
    variables = {
        "libreha_state_url": "sqlite:///%s/state.db" % folder,
        "libreha_policy": {"io_stale": 5, "storage_grace": 0.1},
    }
    (folder / "targets.conf").write_text("")
    inventory = {
        "all": {"vars": variables},
        "libreha_hosts": {"vars": reach, "hosts": addresses},
        "libreha_storage": {"hosts": {"san1": server}},
    }
    (folder / "control").write_text(storage.control)
    (folder / "inventory.new").write_text(yaml.safe_dump(inventory))
    (folder / "inventory.new").rename(folder / "inventory.yml")
    while True:
        time.sleep(0.1)
        for host in hosts:
            if (folder / "restart").exists() and (folder / "restart").read_text() == host.name:
                host.end()
                host.start()
                (folder / "restart").unlink()


def start(folder: Path) -> None:
    end(folder)
    folder.mkdir(parents=True)
    with (folder / "log").open("w") as log:
        holder = subprocess.Popen([sys.executable, __file__, "hold", str(folder)], stdout=log, stderr=log, start_new_session=True)
    (folder / "pid").write_text(str(holder.pid))
    until = time.monotonic() + HANG
    while not (folder / "inventory.yml").exists():
        if holder.poll() is not None or time.monotonic() > until:
            raise SystemExit("the hosts did not start: %s" % (folder / "log").read_text()[-2000:])
        time.sleep(0.1)


def end(folder: Path) -> None:
    """End the process that `start` left, if it is that one still, and remove what it had."""
    pid = (folder / "pid").read_text() if (folder / "pid").exists() else ""
    command = Path("/proc") / pid / "cmdline" if pid else None
    if command is not None and command.exists() and str(folder).encode() in command.read_bytes():
        os.kill(int(pid), signal.SIGTERM)
        until = time.monotonic() + HANG
        while command.exists() and command.read_bytes() and time.monotonic() < until:
            time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def restart(folder: Path, host: str) -> None:
    (folder / "restart.new").write_text(host)
    (folder / "restart.new").rename(folder / "restart")
    until = time.monotonic() + HANG
    while (folder / "restart").exists():
        if time.monotonic() > until:
            raise SystemExit("%s was not started afresh: %s" % (host, (folder / "log").read_text()[-2000:]))
        time.sleep(0.1)


def untouched(folder: Path) -> None:
    """Fail when something is on the LUN, or somebody has a session."""
    with (folder / "lun.img").open("rb") as image:
        if any(image.read(1 << 20)):
            raise SystemExit("check mode wrote to the LUN")
    control = (folder / "control").read_text()
    listed = subprocess.run(
        ["tgtadm", "-C", control, "--lld", "iscsi", "--op", "show", "--mode", "target"], capture_output=True, text=True, check=True
    )
    if "Initiator:" in listed.stdout:
        raise SystemExit("check mode logged in")


if __name__ == "__main__":
    commands = {"start": start, "hold": hold, "end": end, "untouched": untouched, "restart": restart}
    commands[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
