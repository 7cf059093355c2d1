# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations


class ModuleDocFragment:
    """The power devices of one host (plugins/module_utils/entry/options/bmc.py)."""

    DOCUMENTATION = r"""
options:
  host:
    description:
      - The name of the host in the inventory.
    type: str
    required: true
  machine:
    description:
      - The host's own machine as C(hosts[].machine) of M(libreha.vmware.host_health_info) tells it.
      - When a BMC says that it belongs to another machine, the power is unknown and nothing is switched.
      - UUIDs are compared in both byte orders.
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
requirements:
  - sushy >= 5.0 (for O(bmc[].driver=redfish))
  - fence-agents (for O(bmc[].driver=fence_agent))
notes:
  - Options go to a fence agent on its standard input. In place of ipmitool, agents get a program that hands it the password unseen.
    Agents that call Net-SNMP's programs (such as fence_apc_snmp) give those the community or passphrase as an argument, which every
    user of that machine can read while they run. Put it into the C(snmp.conf) of root instead.
"""
