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
  - libreha.vmware.deadline
requirements:
  - sushy >= 5.0 (for O(bmc[].driver=redfish))
  - fence-agents (for O(bmc[].driver=fence_agent))
notes:
  - Options go to a fence agent on its standard input. In place of ipmitool, agents get a program that hands it the password unseen.
    Agents that call Net-SNMP's programs (such as fence_apc_snmp) give those the community or passphrase as an argument, which every
    user of that machine can read while they run. Put it into the C(snmp.conf) of root instead.
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
      - Seconds that each level is given until the power has the wanted state.
    type: float
    default: 60.0
  machine:
    description:
      - The host's own machine as C(hosts[].machine) of M(libreha.vmware.host_health_info) tells it.
      - A BMC that says that it belongs to another machine is refused before anything is changed. UUIDs are compared in both byte orders.
      - Two UUIDs that differ are another machine, whatever the serial numbers. Placeholders of board vendors are left out of account.
        Only where there is no UUID, an equal serial number is a match.
      - Fence agents do not tell which machine they switch. Only a test proves those (playbook C(fence_test)).
    type: dict
    suboptions:
      uuid:
        description: SMBIOS' system UUID.
        type: str
        default: ""
      serial:
        description: The serial number.
        type: str
        default: ""
  bmc:
    description:
      - The devices that switch the host's power, in their levels.
    type: list
    elements: dict
    required: true
    suboptions:
      level:
        description:
          - Levels are tried in rising order, from 1 to 9, until one succeeds. All devices of one level must succeed.
          - Required where there is more than one device. A single device is level 1.
        type: int
      kind:
        description:
          - What the device switches. V(bmc) is the machine itself. V(outlet) is what feeds it, such as a socket of a PDU.
          - An outlet that is on says nothing about a machine that has a BMC. All outlets of a level that are off prove it off,
            so both outlets of a machine with two power supplies belong into one level.
        type: str
        choices: [bmc, outlet]
        default: bmc
      driver:
        description:
          - How to talk to the device. V(redfish) talks to a BMC itself; it can tell which machine the BMC belongs to.
          - V(fence_agent) runs a fence agent of the ClusterLabs family, which must be installed on the machine that the module runs on.
        type: str
        choices: [redfish, fence_agent]
        default: redfish
      address:
        description:
          - With O(bmc[].driver=redfish), the URL of the BMC; V(https) is meant where no scheme is given. Required then.
          - With O(bmc[].driver=fence_agent), the agent's option C(ip), without a port.
          - An IPv6 address may stand in brackets. The agent gets it as it needs it.
        type: str
      username:
        description: User on the device. Required with O(bmc[].driver=redfish).
        type: str
      password:
        description: Password on the device. Required with O(bmc[].driver=redfish).
        type: str
      system:
        description: With O(bmc[].driver=redfish), path or id of the host's system on the BMC. Empty means the only one.
        type: str
        default: ""
      validate_certs:
        description:
          - With O(bmc[].driver=redfish), whether the BMC's certificate is verified.
          - Agents have options of their own for that.
        type: bool
        default: true
      ca_path:
        description:
          - With O(bmc[].driver=redfish), PEM file of the authorities for the BMC's certificate.
          - The default is the system's.
        type: path
      agent:
        description: With O(bmc[].driver=fence_agent), the agent, such as V(fence_ipmilan). Required then.
        type: str
      options:
        description:
          - With O(bmc[].driver=fence_agent), the agent's own options, such as C(plug) or C(lanplus).
          - C(fence_ipmilan -o metadata) lists those of fence_ipmilan.
          - They are checked against that list before the agent is asked anything.
          - Several plugs are one text, such as V(1,2).
        type: dict
        default: {}
      secret_options:
        description: The same for options that nobody may see; O(bmc[].password) need not be repeated here.
        type: dict
        default: {}
      proves_power_off:
        description:
          - With O(bmc[].driver=fence_agent), your word that this device, with these options, says off only when the machine has no power -
            and not when the device or the plug is missing, when it cannot be asked, or when the state is not known.
          - Agents that are known to read power need no word. For any other agent, off is an act and no proof without it, and the host
            counts as one without power fencing. docs/power-fencing.md of this collection has the list and how to find out.
        type: bool
        default: false
      timeout:
        description: Seconds to wait for each answer of the device.
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

- name: Is it on?
  libreha.vmware.host_fence:
    host: esx1
    bmc: "{{ (['esx1'] | libreha.vmware.host_connections(hostvars) | first).bmc }}"
  register: power
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
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.bmc import bmc_spec, read_bmc
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.deadline import deadline_spec, read_permit
from ansible_collections.libreha.vmware.plugins.module_utils.decide.machine import Machine
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError, fail
from ansible_collections.libreha.vmware.plugins.module_utils.fence.power_state import STATES, fence_power


def main() -> None:
    spec = dict(
        bmc_spec(),
        **deadline_spec(),
        host={"type": "str", "required": True},
        machine={"type": "dict", "options": {"uuid": {"type": "str", "default": ""}, "serial": {"type": "str", "default": ""}}},
        state={"type": "str", "choices": list(STATES), "default": "status"},
        timeout={"type": "float", "default": 60.0},
    )
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    params = module.params
    try:
        devices = read_bmc(params["host"], params)
        permit = read_permit(params, host=params["host"])
        machine = Machine(**params["machine"]) if params["machine"] else None
        state, timeout = params["state"], params["timeout"]
        result = fence_power(devices, state, permit, timeout=timeout, machine=machine, check_mode=module.check_mode)
    except LibrehaError as error:
        fail(module, error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
