# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: storage_servers
short_description: The storage servers, from the inventory, for the option O(libreha.vmware.ha_run#module:storage)
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Turns names of inventory hosts into the list that M(libreha.vmware.ha_run) takes. The target service comes from the variable
    C(libreha_storage) of each.
  - The arbiter itself, and a server to which Ansible connects with C(local), is asked on the spot. The arbiter asks every other one
    over ssh, as C(libreha_storage.ssh) says (host, user, port, key, unfence_key, known_hosts); the host, user and port that it leaves out
    are those of Ansible (C(ansible_host), C(ansible_user), C(ansible_port)).
positional: hostvars, arbiter
options:
  _input:
    description: Names of the storage servers, for example C(groups.libreha_storage).
    type: list
    elements: str
    required: true
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
  arbiter:
    description: The inventory name of the machine on which M(libreha.vmware.ha_run) runs.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show how the arbiter reaches the storage servers
  ansible.builtin.debug:
    msg: "{{ groups.libreha_storage | libreha.vmware.storage_servers(hostvars, inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: One entry for each storage server, in the order given.
  type: list
  elements: dict
"""

from collections.abc import Iterable, Mapping
from typing import Any

OPTIONS = ("driver", "control_port", "saved_config", "fence_list", "timeout")


def storage_servers(names: Iterable[str], hostvars: Mapping[str, Any], arbiter: str) -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    found = []
    for name in names:
        variables = hostvars[name]
        given = variables.get("libreha_storage") or {}
        server = {"name": name, **{option: given[option] for option in OPTIONS if given.get(option) is not None}}
        if name != arbiter and variables.get("ansible_connection") != "local":
            server["ssh"] = {**_of_ansible(name, variables), **(given.get("ssh") or {})}
        found.append(server)
    return found


def _of_ansible(name: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    found = {"host": variables.get("ansible_host", name)}
    given = {option: variables.get("ansible_" + option) for option in ("user", "port")}
    return {**found, **{option: value for option, value in given.items() if value is not None}}


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Any]:
        return {"storage_servers": storage_servers}
