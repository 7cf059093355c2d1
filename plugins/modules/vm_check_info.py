#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_check_info
short_description: Simple tests of VMs on the storage, as a table
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Tells of each VM whether it is on, whether its disk took a write lately, whether VMware Tools report, whether its address answers,
    whether it came back after a restart, and whether it would be started elsewhere if its host died.
  - What cannot be seen from outside is V(not tested), with the reason. It is never taken as passed.
  - It changes nothing. The playbook vm_check restarts VMs where that is asked for, and asks the drill.
options:
  vms:
    description: Names of the VMs.
    type: list
    elements: str
    required: true
  drill:
    description: What M(libreha.vmware.ha_drill) returned for each host in turn. Without it the failover is not tested.
    type: dict
  restarted:
    description: Names of VMs that were reset just now. Without it the restart is not tested.
    type: list
    elements: str
    default: []
  wait:
    description:
      - Seconds within which a guest may boot and write. It is looked again until everything that time can bring has passed. A host makes
        statistics every 20 s.
    type: float
    default: 0.0
extends_documentation_fragment:
  - libreha.vmware.info
  - libreha.vmware.hosts
"""

EXAMPLES = r"""
- name: Look at two VMs
  libreha.vmware.vm_check_info:
    hosts: "{{ groups.libreha_hosts | libreha.vmware.host_connections(hostvars) }}"
    vms: [web1, db1]
    wait: 60
  register: checked

- name: Show the table
  ansible.builtin.debug:
    msg: "{{ checked.table }}"
"""

RETURN = r"""
checks:
  description: The checks of each VM, in the order of the VMs.
  returned: success
  type: list
  elements: dict
  contains:
    vm: {description: Name of the VM., type: str, sample: web1}
    host: {description: The host that has it. Empty where it was not found., type: str, sample: esx1}
    check:
      description: "V(power), V(disk), V(tools), V(address), V(restart) or V(failover)."
      type: str
      sample: disk
    result: {description: "V(passed), V(failed) or V(not tested).", type: str, sample: passed}
    detail: {description: What was seen., type: str, sample: a write was done in the 20 s that ended 7 s ago}
table:
  description: The same for people, one line a check.
  returned: success
  type: list
  elements: str
failed_checks:
  description: What failed, in words.
  returned: success
  type: list
  elements: str
  sample: []
vms:
  description: The VMs that exactly one host has.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name of the VM., type: str, sample: web1}
    id: {description: "Its id, the datastore's UUID and the path of its .vmx.", type: str}
    host: {description: The host that has it., type: str, sample: esx1}
    power: {description: Its power state., type: str, sample: "on"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out
from ansible_collections.libreha.vmware.plugins.module_utils.entry.vm_check_info import argument_spec, run


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
