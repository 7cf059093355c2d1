#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_power_info
short_description: Read the power of a host through its BMC or fence agents
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Asks every device that switches the host's power, each twice, and says what follows from their answers. Nothing is switched.
  - A host counts as off only when all devices of one level say so, and nothing else that can be read contradicts them.
  - Not every fence agent proves by its off that a machine has no power, see O(bmc[].proves_power_off).
  - The task fails when no device can be asked. It succeeds when one can; RV(devices) then says which could not.
extends_documentation_fragment:
  - libreha.vmware.info
  - libreha.vmware.power
seealso:
  - module: libreha.vmware.host_fence
"""

EXAMPLES = r"""
- name: Is it on?
  libreha.vmware.host_power_info:
    host: esx1
    bmc: "{{ (['esx1'] | libreha.vmware.host_connections(hostvars) | first).bmc }}"
  register: power
"""

RETURN = r"""
power:
  description:
    - V(on), V(off) or V(unknown). V(unknown) when two reads differed, power is changing, devices contradict each other, or the only off is
      no proof.
  returned: success
  type: str
  sample: "on"
confirmed_off:
  description: Whether it is proved that the host is off.
  returned: success
  type: bool
  sample: false
reason:
  description: What each device said, or why the power is unknown. Where an off is no proof, why, and what would make it one.
  returned: success
  type: str
  sample: "level 1, redfish https://192.0.2.111: on, read twice"
devices:
  description: What each device said.
  returned: always, unless an option was refused
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
host:
  description: The host that a failed task was about.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.host_power_info import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
