# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of every module that talks to hosts; ``entry/options/hosts.py`` is the code."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  hosts:
    description:
      - The hosts to talk to, all at the same time.
      - What an entry does not say for itself, the module's own options of the same name say for all hosts.
      - A host that is listed twice, by name or by hostname and port, is refused.
      - When this is not given, O(hostname) names the only host. An empty list means no host.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the host in the inventory; results name the host by it.
        type: str
        required: true
      hostname:
        description: Name or address of the host's management interface. The default is O(hosts[].name).
        type: str
      username:
        description: User on this host. The default is O(username).
        type: str
      password:
        description: Password on this host. The default is O(password).
        type: str
      port:
        description: TCP port of this host's API. The default is O(port).
        type: int
      validate_certs:
        description: Whether this host's certificate is verified. The default is O(validate_certs).
        type: bool
      ca_path:
        description: PEM file of the authorities for this host. The default is O(ca_path).
        type: path
      proxy_host:
        description: HTTP proxy to this host. The default is O(proxy_host).
        type: str
      proxy_port:
        description: Port of that proxy. The default is O(proxy_port).
        type: int
      timeout:
        description: Seconds to wait for each answer of this host. The default is O(timeout).
        type: float
      bmc:
        description:
          - The devices that switch the host's power, its BMC first of all. Its power state is evidence of its own, and with it a host can
            be fenced by power.
          - Two hosts with the same address, system and plug are refused.
          - Modules that do not need it accept and ignore it, so that one list of hosts serves all of them.
        type: list
        elements: dict
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
              - With O(hosts[].bmc[].driver=redfish), the URL of the BMC; V(https) is meant where no scheme is given. Required then.
              - With O(hosts[].bmc[].driver=fence_agent), the agent's option C(ip), without a port.
              - An IPv6 address may stand in brackets. The agent gets it as it needs it.
            type: str
          username:
            description: User on the device. Required with O(hosts[].bmc[].driver=redfish).
            type: str
          password:
            description: Password on the device. Required with O(hosts[].bmc[].driver=redfish).
            type: str
          system:
            description: With O(hosts[].bmc[].driver=redfish), path or id of the host's system on the BMC. Empty means the only one.
            type: str
            default: ""
          validate_certs:
            description:
              - With O(hosts[].bmc[].driver=redfish), whether the BMC's certificate is verified.
              - Agents have options of their own for that.
            type: bool
            default: true
          ca_path:
            description:
              - With O(hosts[].bmc[].driver=redfish), PEM file of the authorities for the BMC's certificate.
              - The default is the system's.
            type: path
          agent:
            description: With O(hosts[].bmc[].driver=fence_agent), the agent, such as V(fence_ipmilan). Required then.
            type: str
          options:
            description:
              - With O(hosts[].bmc[].driver=fence_agent), the agent's own options, such as C(plug) or C(lanplus).
              - C(fence_ipmilan -o metadata) lists those of fence_ipmilan.
              - They are checked against that list before the agent is asked anything.
              - Several plugs are one text, such as V(1,2).
            type: dict
            default: {}
          secret_options:
            description: The same for options that nobody may see; O(hosts[].bmc[].password) need not be repeated here.
            type: dict
            default: {}
          proves_power_off:
            description:
              - With O(hosts[].bmc[].driver=fence_agent), your word that this device, with these options, says off only when the machine has
                no power - and not when the device or the plug is missing, when it cannot be asked, or when the state is not known.
              - Agents that are known to read power need no word. For any other agent, off is an act and no proof without it, and the host
                counts as one without power fencing. docs/power-fencing.md of this collection has the list and how to find out.
            type: bool
            default: false
          timeout:
            description: Seconds to wait for each answer of the device.
            type: float
            default: 5.0
  hostname:
    description:
      - Name or address of a single host, where O(hosts) is not given. With O(hosts), this is ignored.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_HOST) is used instead.
    type: str
  username:
    description:
      - User for all hosts that do not name their own.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_USER) is used instead.
    type: str
    aliases: [admin, user]
  password:
    description:
      - Password for all hosts that do not give their own.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_PASSWORD) is used instead.
    type: str
    aliases: [pass, pwd]
  port:
    description:
      - TCP port of the API of all hosts that do not give their own.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_PORT) is used instead.
    type: int
    default: 443
  validate_certs:
    description:
      - Whether certificates are verified, the host's name included.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_VALIDATE_CERTS) is used instead.
    type: bool
    default: true
  ca_path:
    description:
      - PEM file of the authorities that the hosts' certificates are verified with. A host's own self-signed certificate will do.
      - The default is the system's list of authorities.
    type: path
  proxy_host:
    description:
      - Name or address of an HTTP proxy to the hosts. It is used for their API only; whether a host answers a ping is asked directly.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_PROXY_HOST) is used instead.
    type: str
  proxy_port:
    description:
      - Port of that proxy.
      - If the value is not specified in the task, the value of environment variable E(VMWARE_PROXY_PORT) is used instead.
    type: int
  timeout:
    description:
      - Seconds to wait for a connection and for each answer of a host.
      - A host is given twice as long for everything together. Hosts are asked at the same time, none waits for another.
    type: float
    default: 5.0
requirements:
  - pyvmomi >= 8.0.3.0.1 (below 9.1 with Python 3.9)
notes:
  - Connection options have the names and the environment variables that the collection vmware.vmware gives them.
"""
