#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_settings
short_description: Settings that all hosts of a cluster should have, on a standalone ESXi host
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Sets autostart, NTP, advanced options (syslog and the handling of lost paths among them) and the path policy of iSCSI LUNs.
  - What an option does not describe is left alone. An advanced option that the host does not have, or a value that it cannot have, is
    refused before anything is changed.
  - It talks to the host itself, not to a vCenter.
options:
  autostart:
    description:
      - Whether VMs start with the host. It must be off where VMs are protected, since a host that comes back must not start what runs
        elsewhere. The switch is the host's; which VMs it would start stays noted.
    type: bool
  ntp_servers:
    description:
      - Servers that the host takes its time from. With one or more the NTP service runs, now and from each start of the host.
    type: list
    elements: str
  options:
    description:
      - Advanced options and their values, such as V(Syslog.global.logHost). Values are taken as the host's type.
    type: dict
    default: {}
  path_policy:
    description:
      - How the paths to the LUNs of O(targets) are used. V(round_robin) is right for several portals of one storage server.
    type: str
    choices: [fixed, most_recently_used, round_robin]
  targets:
    description:
      - The iSCSI targets whose LUNs O(path_policy) is for. They are taken in lower case.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - libreha.vmware.host
attributes:
  check_mode:
    description: Tells what would be changed, after all checks.
    support: full
  diff_mode:
    description: Shows the described settings before and after.
    support: full
seealso:
  - module: libreha.vmware.esxi_iscsi
"""

EXAMPLES = r"""
- name: What a host of the cluster needs
  libreha.vmware.esxi_settings:
    hostname: 192.0.2.11
    username: root
    password: "{{ vault_esxi_password }}"
    autostart: false
    ntp_servers: [192.0.2.1]
    options:
      Syslog.global.logHost: udp://192.0.2.10:514
      Misc.APDHandlingEnable: 1
    path_policy: round_robin
    targets: [iqn.2026-01.com.example:san1]
  delegate_to: localhost
"""

RETURN = r"""
steps:
  description: What was changed, in order. In check mode, what would be changed.
  returned: always
  type: list
  elements: str
  sample: ["switch autostart off", "set Misc.APDTimeout to 140"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.esxi_settings import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
