#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_power
short_description: Stop VMs of hosts that still answer
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Switches VMs hard off, on all hosts and all VMs at the same time, and waits for it.
  - The failover uses it to stop the VMs of a fenced host that lost its storage but still answers, so that they do not go on executing in
    memory. It is never a precondition of the fence.
options:
  state:
    description: V(powered_off) is a hard power-off; the guest is not asked.
    type: str
    choices: [powered_off]
    default: powered_off
  vms:
    description: Ids of the VMs to stop (datastore UUID and vmx path). Empty means all VMs of the hosts.
    type: list
    elements: str
    default: []
  stop_timeout:
    description: Seconds to wait until they are off.
    type: float
    default: 10
  holder:
    description: The run that holds the lease.
    type: str
    required: true
  token:
    description: The token of its lease.
    type: int
    required: true
  lease:
    description: Seconds for which the lease is renewed.
    type: float
    default: 60
extends_documentation_fragment:
  - libreha.vmware.hosts
  - libreha.vmware.state
attributes:
  check_mode:
    description: Tells which VMs would be stopped.
    support: full
  diff_mode:
    description: Shows the power state of each VM before and after.
    support: full
"""

EXAMPLES = r"""
- name: Stop everything on a host that lost its storage
  libreha.vmware.vm_power:
    hosts: "{{ ['esx1'] | libreha.vmware.host_connections(hostvars) }}"
    state: powered_off
    holder: "{{ holder }}"
    token: "{{ lease.token }}"
"""

RETURN = r"""
vms:
  description: The VMs that were stopped.
  returned: always
  type: list
  elements: dict
  contains:
    host:
      description: The host.
      type: str
      sample: esx1
    name:
      description: Name of the VM.
      type: str
      sample: vm01
    id:
      description: Datastore UUID and vmx path.
      type: str
      sample: 65a1-b2:vm01/vm01.vmx
failed_vms:
  description: What was not stopped, with the cause.
  returned: failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_power import run
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.hosts import hosts_spec
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.state import hide_secrets, state_spec
from ansible_collections.libreha.vmware.plugins.module_utils.errors import carry_out


def argument_spec():
    return {
        "state": {"type": "str", "choices": ["powered_off"], "default": "powered_off"},
        "vms": {"type": "list", "elements": "str", "default": []},
        "stop_timeout": {"type": "float", "default": 10},
        "holder": {"type": "str", "required": True},
        "token": {"type": "int", "required": True, "no_log": False},
        "lease": {"type": "float", "default": 60},
        **hosts_spec(),
        **state_spec(),
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module)
    carry_out(module, run)


if __name__ == "__main__":
    main()
