# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: cluster_policy
short_description: The whole policy - group_vars, with the hosts and storage servers of the inventory in it
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Adds to C(libreha_policy) which hosts there are, with the initiator name of each and whether it has a BMC
    (C(libreha_initiator), C(libreha_bmc)), which of them are spare (C(libreha_spare)), and which storage servers. What
    C(libreha_policy) says of a host itself wins, option by option.
  - Fails where C(libreha_bmc) of a host makes no sense, where two hosts have the same BMC, system or plug, or where the policy has
    mistakes, and names each of them by its place.
  - The result is what M(libreha.vmware.ha_run) takes as O(libreha.vmware.ha_run#module:policy). It holds no secret.
positional: hostvars, hosts, storage
options:
  _input:
    description: The policy as the group_vars have it, for example C(libreha_policy).
    type: dict
    required: true
  hostvars:
    description: The variable C(hostvars).
    type: dict
    required: true
  hosts:
    description: Names of the virtualization hosts, for example C(groups.libreha_hosts).
    type: list
    elements: str
    required: true
  storage:
    description: Names of the storage servers, for example C(groups.libreha_storage).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the policy as decide sees it
  ansible.builtin.debug:
    msg: "{{ libreha_policy | libreha.vmware.cluster_policy(hostvars, groups.libreha_hosts, groups.libreha_storage) }}"
"""

RETURN = r"""
_value:
  description: The policy.
  type: dict
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.bmc import read_bmc_variable, shared_devices
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy


def cluster_policy(policy: Mapping[str, Any], hostvars: Mapping[str, Any], hosts: Iterable[str], storage: Iterable[str]) -> dict[str, Any]:
    """See DOCUMENTATION."""
    try:
        devices = {name: read_bmc_variable(name, hostvars[name].get("libreha_bmc")) for name in hosts}
    except LibrehaError as error:
        raise AnsibleFilterError(str(error)) from error
    shared = shared_devices(devices)
    if shared:
        raise AnsibleFilterError("%s. Remedy: give each host the BMC, system or plug of its own in libreha_bmc" % shared)
    host_entries = {
        name: {
            "initiator": hostvars[name].get("libreha_initiator", ""),
            "has_bmc": bool(devices[name]),
            "spare": boolean(hostvars[name].get("libreha_spare", False)),
        }
        for name in devices
    }
    storage_entries: dict[str, Any] = {name: {} for name in storage}
    completed = {
        **policy,
        "hosts": _completed(policy.get("hosts"), host_entries),
        "storage": _completed(policy.get("storage"), storage_entries),
    }
    try:
        read_policy(completed)
    except LibrehaError as error:
        raise AnsibleFilterError(str(error)) from error
    return completed


def _completed(given: Any, entries: Mapping[str, dict[str, Any]]) -> Any:
    """*given* over *entries*, option by option. What is no mapping is left as it is: the schema says what is wrong with it."""
    if given and not isinstance(given, Mapping):
        return given
    merged = dict(entries)
    for name, entry in (given or {}).items():
        merged[name] = {**entries.get(name, {}), **(entry or {})} if isinstance(entry or {}, Mapping) else entry
    return merged


class FilterModule:
    """Ansible's way to find the filter."""

    def filters(self) -> dict[str, Any]:
        return {"cluster_policy": cluster_policy}
