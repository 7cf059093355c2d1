# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: vms
short_description: The VMs of standalone hosts as an inventory
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - The VMs of all hosts that answer, each once, read from the hosts themselves. A VM that is registered on several hosts is listed where
    it runs.
  - All hosts are read at the same time, in a number of round trips that does not grow with the number of VMs. A host that does not answer
    costs a warning and its own VMs.
  - Every VM has the variable C(libreha_vm) with what is known of it, and C(ansible_host) where VMware Tools tell an address.
  - Groups are C(libreha_vms), C(libreha_vms_on_HOST), C(libreha_vms_power_on), C(libreha_vms_power_off), C(libreha_vms_power_suspended),
    C(libreha_vms_power_unknown), C(libreha_vms_protected) and C(libreha_vms_unprotected), and those of O(keyed_groups) and O(groups).
  - Where several VMs have one name, each is listed as C(NAME@HOST).
  - The file's name must end with C(libreha_vms.yml) or C(libreha_vms.yaml).
  - The machine that runs Ansible must reach the hosts. It needs pyVmomi.
extends_documentation_fragment:
  - libreha.vmware.inventory
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [libreha.vmware.vms]
  policy_file:
    description:
      - YAML file with C(libreha_policy), which says which VMs are protected. A path that is not absolute is below the inventory file's
        folder.
      - The default is C(group_vars/all/policy.yml) where there is one. Without a policy every VM is protected whose files can be fenced.
    type: path
  targets:
    description:
      - Names of the iSCSI targets that are fenced. A VM that writes anywhere else is unprotected. The default is all iSCSI targets that
        the hosts have.
    type: list
    elements: str
    default: []
notes:
  - Whether a VM is protected is judged here by the policy and by where its files lie. The playbook drill judges by everything, such as
    the fences and the room on the other hosts.
  - What was read while a host did not answer is not written to the cache, since that would hide its VMs after it came back.
"""

EXAMPLES = r"""
# cluster.libreha_vms.yml
plugin: libreha.vmware.vms
hosts: [192.0.2.11, 192.0.2.12, 192.0.2.13]
username: ha
password: "{{ lookup('ansible.builtin.env', 'ESXI_PASSWORD') }}"
ca_path: /etc/pki/esxi-ca.pem

# Groups by network and guest, and how to log in
# plugin: libreha.vmware.vms
# hosts:
#   - {name: esx1, hostname: 192.0.2.11}
#   - {name: esx2, hostname: 192.0.2.12}
# keyed_groups:
#   - {prefix: network, key: libreha_vm.networks}
# groups:
#   big: libreha_vm.memory >= 65536
#   without_tools: libreha_vm.power == 'on' and libreha_vm.tools != 'guestToolsRunning'
# compose:
#   ansible_user: "'administrator' if 'Windows' in libreha_vm.guest else 'admin'"
# cache: true
# cache_plugin: ansible.builtin.jsonfile
# cache_connection: /var/cache/libreha
# cache_timeout: 300
"""

import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.hosts import read_hosts
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.observe.inventory_vms import inventory_vms, read_vms
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_policy
from ansible_collections.libreha.vmware.plugins.plugin_utils.inventory import inventory_spec, plain, read_options

POLICY = os.path.join("group_vars", "all", "policy.yml")


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """See DOCUMENTATION."""

    NAME = "libreha.vmware.vms"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith(("libreha_vms.yml", "libreha_vms.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        config = self._read_config_data(path)
        params = read_options(config, _spec(), self.templar)
        key = self.get_cache_key(path)
        vms = self._cache.get(key) if cache and self.get_option("cache") else None
        if vms is None:
            vms, whole = self._read(params, path)
            if whole and self.get_option("cache"):
                self._cache[key] = vms
        self._fill(vms)

    def _read(self, params: Mapping[str, Any], path: str) -> tuple[dict[str, Any], bool]:
        """What is known of each VM, and whether every host answered."""
        try:
            policy = self._policy(params["policy_file"], path)
            hosts, problems = read_vms(read_hosts(params))
        except LibrehaError as error:
            raise AnsibleParserError(str(error)) from error
        for name, problem in problems.items():
            if not hosts:
                raise AnsibleParserError("no host answers: %s" % "; ".join(problems.values()))
            self.display.warning("the VMs of %s are not in the inventory: %s" % (name, problem))
        return inventory_vms(hosts, policy, params["targets"]), not problems

    def _policy(self, given: str | None, path: str) -> Policy:
        """What the policy says of VMs; the rest of it is not this plugin's. Raises LibrehaError that names what is wrong."""
        file = os.path.join(os.path.dirname(path), given or POLICY)
        if not given and not os.path.exists(file):
            return Policy()
        variables = self.loader.load_from_file(file, cache="none") or {}
        if "libreha_policy" not in variables:
            raise AnsibleParserError("%s has no libreha_policy. Remedy: name the file that has it with policy_file" % file)
        options = plain(variables["libreha_policy"]) or {}
        return read_policy({name: options[name] for name in ("default_protection", "vms") if name in options})

    def _fill(self, vms: Mapping[str, Mapping[str, Any]]) -> None:
        strict = self.get_option("strict")
        for name, vm in vms.items():
            self.inventory.add_group("libreha_vms")
            self.inventory.add_host(name, group="libreha_vms")
            self.inventory.set_variable(name, "libreha_vm", vm)
            if vm["addresses"]:
                self.inventory.set_variable(name, "ansible_host", vm["addresses"][0])
            for suffix in ("on_%s" % vm["host"], "power_%s" % vm["power"], "protected" if vm["protected"] else "unprotected"):
                group = self.inventory.add_group(self._sanitize_group_name("libreha_vms_%s" % suffix))
                self.inventory.add_host(name, group=group)
                self.inventory.add_child("libreha_vms", group)
            variables = self.inventory.get_host(name).get_vars()
            self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
            self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
            self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)


def _spec() -> dict[str, Any]:
    return {
        **inventory_spec(),
        "policy_file": {"type": "path"},
        "targets": {"type": "list", "elements": "str", "default": []},
    }
