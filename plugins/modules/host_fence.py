#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_fence
short_description: Switch a host off or on through its BMC, and prove it
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Power fencing. It proves that the VMs of a host no longer execute, which the fence at the storage server does not.
  - A host counts as off only when two reads of its BMC in a row say so.
  - Power off alone is no fence, since power may return. Use M(libreha.vmware.iscsi_fence) too, always.
  - A BMC knows no fencing tokens. So the act ends with the lease, see O(deadline) and O(lease_remaining).
extends_documentation_fragment:
  - libreha.vmware.deadline
requirements:
  - sushy
options:
  host:
    description:
      - The name of the host in the inventory.
    type: str
    required: true
  state:
    description:
      - V(off) switches off by force, without shutting down, and waits until it is off.
      - V(on) switches on and waits until it is on.
      - V(cycled) switches off, confirms that, and switches on.
      - V(status) only reads.
    type: str
    choices: [status, "on", "off", cycled]
    default: status
  timeout:
    description:
      - Seconds to wait until the power has the wanted state.
    type: float
    default: 60.0
  bmc:
    description:
      - The host's BMC.
    type: dict
    required: true
    suboptions:
      driver:
        description: How to talk to the BMC.
        type: str
        choices: [redfish]
        default: redfish
      address:
        description: URL of the BMC; V(https) is meant where no scheme is given.
        type: str
        required: true
      username:
        description: User on the BMC.
        type: str
        required: true
      password:
        description: Password on the BMC.
        type: str
        required: true
      system:
        description: Path or id of the host's system on the BMC. Empty means the only one.
        type: str
        default: ""
      validate_certs:
        description: Whether the BMC's certificate is verified.
        type: bool
        default: true
      ca_path:
        description: PEM file of the authorities for the BMC's certificate. The default is the system's.
        type: path
      timeout:
        description: Seconds to wait for each answer of the BMC.
        type: float
        default: 5.0
attributes:
  check_mode:
    description: Reads the power, and tells what would be changed.
    support: full
  diff_mode:
    description: Shows the power before and after.
    support: full
seealso:
  - module: libreha.vmware.iscsi_fence
"""

EXAMPLES = r"""
- name: Switch esx1 off
  libreha.vmware.host_fence:
    host: esx1
    state: "off"
    bmc:
      address: https://esx1-bmc.example.com
      username: ha
      password: "{{ vault_bmc_password }}"
      ca_path: /etc/pki/bmc-ca.pem
    deadline: "{{ lease.lease.deadline }}"

- name: Is it on?
  libreha.vmware.host_fence:
    host: esx1
    bmc: "{{ hostvars['esx1'].libreha_bmc }}"
  register: power
"""

RETURN = r"""
power_before:
  description: The power before. V(unknown) when two reads differed, or power was changing.
  returned: success
  type: str
  sample: "on"
power:
  description: The power after, from two equal reads. In check mode, what it would be.
  returned: success
  type: str
  sample: "off"
confirmed_off:
  description: Whether it is proved that the host was off, at the end or, with O(state=cycled), in between.
  returned: success
  type: bool
  sample: true
host:
  description: The host that a failed task was about.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.bmc import bmc_spec, read_bmc
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.deadline import deadline_spec, read_permit
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError, fail
from ansible_collections.libreha.vmware.plugins.module_utils.fence.power_state import STATES, fence_power


def main() -> None:
    spec = dict(
        bmc_spec(),
        **deadline_spec(),
        host={"type": "str", "required": True},
        state={"type": "str", "choices": list(STATES), "default": "status"},
        timeout={"type": "float", "default": 60.0},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    params = module.params
    try:
        bmc = read_bmc(params["host"], params)
        permit = read_permit(params, host=params["host"])
        result = fence_power(bmc, params["state"], permit, timeout=params["timeout"], check_mode=module.check_mode)
    except LibrehaError as error:
        fail(module, error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
