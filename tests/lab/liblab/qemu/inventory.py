"""Guests in an Ansible inventory: reached by ssh on 127.0.0.1, with the lab's own key and known hosts."""

from __future__ import annotations

import shlex
from typing import Any

GROUPS = {"storage": "lab_storage", "initiator": "lab_initiators", "user": "lab_user"}


def groups(guests: list[dict[str, Any]]) -> dict[str, Any]:
    """``lab_storage`` and ``lab_initiators``, from entries of ``Guests.status``."""
    found: dict[str, Any] = {}
    for guest in guests:
        found.setdefault(GROUPS[guest["role"]], {"hosts": {}})["hosts"][guest["name"]] = variables(guest)
    return found


def variables(guest: dict[str, Any]) -> dict[str, Any]:
    ssh = guest["ssh"]
    return {
        "ansible_connection": "ssh",
        "ansible_host": ssh["address"],
        "ansible_port": ssh["port"],
        "ansible_user": ssh["username"],
        "ansible_ssh_private_key_file": ssh["key_file"],
        "ansible_ssh_common_args": shlex.join(ssh["options"]),
        "ansible_python_interpreter": "/usr/local/bin/lab-python",  # python3, which starts faster
        "lab_addresses": guest["addresses"],
        "lab_initiator": guest["initiator"],
        "lab_disks": guest["disks"],
        "lab_ports": guest["ports"],
    }
