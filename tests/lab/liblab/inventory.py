"""The inventory of what is up, as a user would write it: hosts, storage server, policy. Written again by every ``lab inventory``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from .plan import TARGET_IQN, TIMINGS, Host
from .qemu.inventory import groups
from .state import GUESTS, Lab, write_private


def _host(lab: Lab, host: Host) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ansible_host": host.address,
        "libreha_port": host.port,
        "libreha_timeout": 2,  # seconds; everything is on one machine
        "libreha_username": host.username,
        "libreha_password": host.password,
        "libreha_ca_path": str(lab.ca_file),
        "libreha_initiator": host.initiator,
    }
    bmc = lab.bmc_of(host.name)
    if bmc:
        found["libreha_bmc"] = {
            "driver": "redfish",
            "address": bmc.url,
            "username": bmc.username,
            "password": bmc.password,
            "system": "/redfish/v1/Systems/%s" % host.uuid,
            "ca_path": str(lab.ca_file),
        }
    return found


def _storage(lab: Lab) -> dict[str, Any]:
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "libreha_storage": {
            "driver": "tgt",
            "target": TARGET_IQN,
            "control_port": lab.network.control_port,
            "saved_config": str(lab.saved_config),
            "fence_list": str(lab.fence_list),
        },
    }


def _all(lab: Lab) -> dict[str, Any]:
    return {
        "libreha_policy": {
            "mode": "act",
            "isolation_addresses": [lab.network.gateway_address],
            # The lab's hosts log in again within a second or two of a restart of the target; ESXi may take minutes.
            "storage_grace": 10,
            **TIMINGS[lab.options.timings]["policy"],
        },
        "libreha_state_url": "sqlite:///%s/state.db" % lab.arbiter.resolve(),
    }


def write(state_folder: Path, lab: Lab | None, guests: list[dict[str, Any]], in_guests: dict[str, dict[str, Any]] | None = None) -> Path:
    """Write the folder for what is up, the quick lab, guests (entries of ``Guests.status``) or both, and return its path.

    ``in_guests``: the files of hosts that live in guests (``GuestHosts.inventory``)."""
    # beside what it is about, so that it goes with it
    path = state_folder.absolute() / ("inventory" if lab is not None else "%s/inventory" % GUESTS)
    (path / "group_vars").mkdir(parents=True, exist_ok=True)
    contents: dict[str, dict[str, Any]] = {}
    if lab is not None:
        contents["hosts.yml"] = {
            "libreha_hosts": {"hosts": {host.name: _host(lab, host) for host in lab.hosts}},
            "libreha_storage": {"hosts": {"san1": _storage(lab)}},
        }
        contents["group_vars/all.yml"] = _all(lab)
    contents.update(in_guests or {})
    if guests:
        contents["guests.yml"] = groups(guests)
    else:
        (path / "guests.yml").unlink(missing_ok=True)
    for name, content in contents.items():
        text = "---\n# Written by 'lab inventory'.\n" + yaml.safe_dump(content, sort_keys=False, default_flow_style=False)
        write_private(path / name, text)
    return path
