# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: host_connections
short_description: The connections of hosts, from the inventory, for the option O(libreha.vmware.host_health_info#module:hosts)
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Turns names of inventory hosts into the list that the modules of this collection take as C(hosts).
  - The address is C(ansible_host), or the name. The rest comes from the variables C(libreha_username), C(libreha_password),
    C(libreha_port), C(libreha_validate_certs), C(libreha_ca_path), C(libreha_proxy_host), C(libreha_proxy_port),
    C(libreha_timeout) and C(libreha_bmc) of each host; what a host does not set is left out, so that C(module_defaults)
    and the environment apply.
  - C(libreha_bmc) may be a single device or a list of devices with their levels; the result is a list.
positional: hostvars
options:
  _input:
    description: Names of inventory hosts, for example C(groups.libreha_hosts).
    type: list
    elements: str
    required: true
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
  login:
    description:
      - The prefix of variables that replace C(libreha_username) and C(libreha_password) where a host has them, for what another user
        than the monitor's does, as V(vmware_server) for C(vmware_server_username) and C(vmware_server_password).
    type: str
    default: libreha
"""

EXAMPLES = r"""
- name: Look at all hosts of the inventory
  libreha.vmware.host_health_info:
    hosts: "{{ groups.libreha_hosts | libreha.vmware.host_connections(hostvars) }}"
"""

RETURN = r"""
_value:
  description: One connection for each host, in the order given.
  type: list
  elements: dict
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.bmc import bmc_list

OPTIONS = ("username", "password", "port", "validate_certs", "ca_path", "proxy_host", "proxy_port", "timeout", "bmc")
LOGIN = ("username", "password")


def host_connections(names: Iterable[str], hostvars: Mapping[str, Any], login: str = "libreha") -> list[dict[str, Any]]:
    """See DOCUMENTATION."""
    found = []
    for name in names:
        variables = hostvars[name]
        connection = {"name": name, "hostname": variables.get("ansible_host", name)}
        for option in OPTIONS:
            value = variables.get("libreha_%s" % option)
            if option in LOGIN:
                value = variables.get("%s_%s" % (login, option), value)
            if value is not None:
                connection[option] = bmc_list(value) if option == "bmc" else value
        found.append(connection)
    return found


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Any]:
        return {"host_connections": host_connections}
