#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_fence
short_description: Switch a host off or on through its BMC or a fence agent, and prove it
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Power fencing. It proves that the VMs of a host no longer execute, which the fence at the storage server does not.
  - A host counts as off only when all devices of one level say so, each in two reads in a row, and nothing else that can be read
    contradicts them.
  - Not every fence agent proves by its off that a machine has no power. One that does not is used all the same, but the host does not
    count as off by it, see O(bmc[].proves_power_off).
  - An order that a device refuses or does not answer is followed by readings, and those count.
  - Levels are tried one after the other. What kept a level from succeeding is in RV(level_errors).
  - Power off alone is no fence, since power may return. Use M(libreha.vmware.iscsi_fence) too, always.
  - A BMC knows no fencing tokens. So the act ends with the lease, see O(deadline) and O(lease_remaining). A fence agent and all that it
    starts is killed then, which needs the right to make a PID namespace (root has it).
extends_documentation_fragment:
  - libreha.vmware.power
  - libreha.vmware.deadline
options:
  state:
    description:
      - V(off) switches off by force, without shutting down, and waits until it is off.
      - V(on) switches on and waits until it is on.
      - V(cycled) switches off, confirms that, and switches on.
    type: str
    choices: ["on", "off", cycled]
    required: true
  timeout:
    description:
      - Seconds that each level is given until the power has the wanted state.
    type: float
    default: 60.0
attributes:
  check_mode:
    description: Reads the power, and tells what would be changed.
    support: full
  diff_mode:
    description: Shows the power before and after.
    support: full
seealso:
  - module: libreha.vmware.host_power_info
  - module: libreha.vmware.iscsi_fence
"""

EXAMPLES = r"""
- name: Switch esx1 off
  libreha.vmware.host_fence:
    host: esx1
    state: "off"
    bmc:
      - address: https://esx1-bmc.example.com
        username: ha
        password: "{{ vault_bmc_password }}"
        ca_path: /etc/pki/bmc-ca.pem
    deadline: "{{ lease.lease.deadline }}"

- name: By IPMI, and where that fails by both outlets that feed it
  libreha.vmware.host_fence:
    host: esx1
    state: "off"
    bmc:
      - level: 1
        driver: fence_agent
        agent: fence_ipmilan
        address: 192.0.2.111
        username: ha
        password: "{{ vault_bmc_password }}"
        options:
          lanplus: true
      - level: 2
        kind: outlet
        driver: fence_agent
        agent: fence_apc
        address: 192.0.2.21
        username: ha
        password: "{{ vault_pdu_password }}"
        options:
          plug: 3
          ssh: true
      - level: 2
        kind: outlet
        driver: fence_agent
        agent: fence_apc
        address: 192.0.2.22
        username: ha
        password: "{{ vault_pdu_password }}"
        options:
          plug: 3
          ssh: true
"""

RETURN = r"""
power_before:
  description:
    - The power before. V(unknown) when two reads differed, power was changing, devices contradict each other, or the only off is no proof.
  returned: success
  type: str
  sample: "on"
power:
  description: The power after, from two equal reads. In check mode, what it would be.
  returned: success
  type: str
  sample: "off"
reason:
  description: What each device said, or why the power is unknown. Where an off is no proof, why, and what would make it one.
  returned: success
  type: str
  sample: "level 1, redfish https://192.0.2.111: off, read twice"
level:
  description: The level that switched the host off. Where no level can prove that, the first that says off.
  returned: when it was switched off or cycled
  type: int
  sample: 2
level_errors:
  description: By the number of the level, what kept it from switching the host off, or from proving it.
  returned: success, and when more than one level failed
  type: dict
  sample: {"1": "esx1: fence_ipmilan 192.0.2.111 was to switch it off and failed (exit code 1)"}
devices:
  description: What each device said, at the end.
  returned: always, unless an option was refused or the time to act was over
  type: list
  elements: dict
  contains:
    level:
      description: Its level.
      type: int
      returned: success
      sample: 1
    device:
      description: Driver or agent, address and plug.
      type: str
      returned: success
      sample: fence_ipmilan 192.0.2.111
    power:
      description: V(on), V(off) or V(unknown), from two reads.
      type: str
      returned: success
      sample: "off"
    proves_off:
      description: Whether its off is a proof.
      type: bool
      returned: success
      sample: true
    uuid:
      description: The UUID of the machine that the device says it belongs to; empty where it tells none.
      type: str
      returned: success
      sample: ""
    serial:
      description: The same of the serial number.
      type: str
      returned: success
      sample: ""
    error:
      description: Why the device could not be read; empty when it could.
      type: str
      returned: success
      sample: ""
confirmed_off:
  description:
    - Whether it is proved that the host was off, at the end or, with O(state=cycled), in between.
    - V(false) after a success means that the device was told to switch off and says so, but proves nothing by it. RV(reason) says why.
  returned: success
  type: bool
  sample: true
host:
  description: The host that a failed task was about.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.host_fence import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
