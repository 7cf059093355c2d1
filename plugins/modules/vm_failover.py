#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_failover
short_description: Register and start the VMs of a fenced host on other hosts, as journaled transactions
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - For each VM - register its files on the destination, power it on, answer the moved-or-copied question with "moved",
    and verify that it runs. VMs are started side by side, within a limit for each host. Files still locked by the dead host
    are retried until the lock has aged.
  - Every step is recorded in the state database before and after, under the token of the run's lease. A run that was killed at
    any point is completed by calling the module again; transactions that an earlier run left open are completed too,
    also when O(vms) is empty.
  - Nothing is registered or started unless O(storage) shows the fence of the source as confirmed on every storage server.
    A VM that runs on another host already is left alone.
options:
  vms:
    description:
      - The plan that M(libreha.vmware.ha_decide) returned as RV(libreha.vmware.ha_decide#module:plan), in the order of the
        restart priorities.
    type: list
    elements: dict
    default: []
  storage:
    description:
      - What M(libreha.vmware.iscsi_session_info) returned as C(storage), for every storage server, read directly before.
    type: list
    elements: dict
    required: true
  policy:
    description:
      - The policy as M(libreha.vmware.ha_decide) takes it; its C(failover) holds the bounds.
    type: dict
    required: true
  holder:
    description: The run that holds the lease.
    type: str
    required: true
  token:
    description: The token of its lease.
    type: int
    required: true
  lease:
    description: Seconds for which the lease is renewed again and again while the module works.
    type: float
    default: 60
extends_documentation_fragment:
  - libreha.vmware.hosts
  - libreha.vmware.state
attributes:
  check_mode:
    description: Tells which VMs would be started where; changes nothing and takes no lease.
    support: full
  diff_mode:
    description: Shows the host of each VM before and after.
    support: full
"""

EXAMPLES = r"""
- name: Look at the fences
  libreha.vmware.iscsi_session_info:
    name: san1
  register: sessions

- name: Fail the VMs over
  libreha.vmware.vm_failover:
    vms: "{{ decision.plan }}"
    hosts: "{{ decision.live_hosts | libreha.vmware.host_connections(hostvars) }}"
    storage: ["{{ sessions.storage }}"]
    policy: "{{ libreha_policy | libreha.vmware.cluster_policy(hostvars, groups.libreha_hosts, groups.libreha_storage) }}"
    holder: "{{ holder }}"
    token: "{{ lease.token }}"
"""

RETURN = r"""
vms:
  description: The outcome for each VM. Returned also when some of them failed.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: Datastore UUID and vmx path.
      type: str
      sample: 65a1-b2:vm01/vm01.vmx
    name:
      description: Name of the VM.
      type: str
      sample: vm01
    source:
      description: The host that it ran on.
      type: str
      sample: esx1
    destination:
      description: The host that it was started on.
      type: str
      sample: esx2
    step:
      description:
        - The last complete step. V(verified) is a VM seen running, V(registered) the end for one that was not running at the failure,
          V(blocked) waits for a person, to answer a question or to find who holds a lock that does not age; V(failed) did not come up.
      type: str
      sample: verified
    reason:
      description: Why it ended so.
      type: str
    history:
      description: What was done in this run, in words.
      type: list
      elements: str
failed_vms:
  description: The VMs that did not come up, each with its destination and cause.
  returned: always
  type: list
  elements: str
unregistered:
  description:
    - The .vmx files on the datastores concerned that no host of O(hosts) has registered. They may be VMs of the lost host that
      no look ever saw; a person decides.
  returned: always
  type: list
  elements: str
  sample: ["[shared] forgotten/forgotten.vmx"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_failover import run
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.hosts import hosts_spec
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.state import hide_secrets, state_spec
from ansible_collections.libreha.vmware.plugins.module_utils.errors import carry_out


def argument_spec():
    return {
        "vms": {"type": "list", "elements": "dict", "default": []},
        "storage": {"type": "list", "elements": "dict", "required": True},
        "policy": {"type": "dict", "required": True},
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
