#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_power
short_description: Stop or reset VMs of hosts that still answer
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Switches VMs off, shuts them down or resets them, on all hosts and all VMs at the same time, and waits for it.
    What is begun and how it ended is written into the journal for each VM, under the lease.
  - The failover uses V(powered_off) to stop the VMs of a fenced host that lost its storage but still answers, so that they do not
    go on executing in memory. It is never a precondition of the fence.
  - C(monitor) uses V(stopped) for VMs that an operator wants stopped, and V(reset) for VMs whose guests hang.
options:
  state:
    description:
      - V(powered_off) is a hard power-off; the guest is not asked.
      - V(stopped) asks the guests to shut down, and switches off what still runs after O(guest_timeout), or has no VMware Tools
        that could be asked.
      - V(reset) is a hard reset of VMs that run. It is an act and no state, so every run of it resets the VMs again.
    type: str
    choices: [powered_off, stopped, reset]
    default: powered_off
  vms:
    description:
      - Ids of the VMs (datastore UUID and vmx path), and no others. With V(state=powered_off), empty means all VMs of the hosts.
      - A VM that runs on none of the hosts is stopped already, and cannot be reset.
    type: list
    elements: str
    default: []
  stop_timeout:
    description: Seconds to wait until they are off, or reset.
    type: float
    default: 10
  guest_timeout:
    description: With V(state=stopped), seconds that the guests have for shutting down.
    type: float
    default: 120
  only_without_heartbeat:
    description:
      - Leave VMs alone whose guest has a heartbeat at this moment; they are returned in RV(left_alone).
        What was seen when the act was decided may be over.
    type: bool
    default: false
  holder:
    description: The run that holds the lease.
    type: str
    required: true
  token:
    description: The token of its lease.
    type: int
    required: true
  lease:
    description: Seconds for which the lease is renewed, beyond the time that the act itself may take.
    type: float
    default: 60
extends_documentation_fragment:
  - libreha.vmware.hosts
  - libreha.vmware.state
attributes:
  check_mode:
    description: Tells which VMs would be stopped or reset.
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

- name: Reset a VM unless its guest has come back by itself
  libreha.vmware.vm_power:
    hosts: "{{ ['esx1'] | libreha.vmware.host_connections(hostvars) }}"
    state: reset
    vms: [65a1b2c3-d4e5f607-1829-3a4b5c6d7e8f:vm01/vm01.vmx]
    only_without_heartbeat: true
    holder: "{{ holder }}"
    token: "{{ lease.token }}"
"""

RETURN = r"""
vms:
  description: The VMs that were stopped or reset.
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
    done:
      description: What was done, in words; empty in check mode.
      type: str
      sample: shut down by its guest
left_alone:
  description: The VMs that were left alone because of O(only_without_heartbeat).
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
    reason:
      description: Why.
      type: str
      sample: its guest has a heartbeat
failed_vms:
  description: What was not stopped or reset, with the cause.
  returned: failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.state import hide_secrets
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out
from ansible_collections.libreha.vmware.plugins.module_utils.entry.vm_power import argument_spec, run


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module)
    carry_out(module, run)


if __name__ == "__main__":
    main()
