#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_monitor_user
short_description: The monitor's own user on a standalone ESXi host, with the privileges that it needs and no others
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Creates a role with the privileges that the monitor's calls need, a local user, and the permission of that user on the root folder,
    which holds for everything on the host. C(docs/host-privileges.md) has each privilege with the call that needs it.
  - The role has exactly these privileges afterwards; what it had beyond them is taken away, and O(ignore:diff) shows it.
  - With this user the monitor can look, register VMs, start, stop and reset them, and answer their questions. It cannot change the host,
    its storage or a VM's hardware. The roles and modules that do (P(libreha.vmware.vmware_server#role), M(libreha.vmware.vm_provision))
    log in as root.
  - It talks to the host itself, not to a vCenter, as a user that may change users and roles.
options:
  monitor_user:
    description:
      - The user's name. ESXi's own users, and the user that the task logs in as, are refused.
    type: str
    default: libreha
  monitor_password:
    description:
      - Its password, which must satisfy the host's rules. Needed when the user is not there yet.
    type: str
  update_password:
    description:
      - V(always) sets the password anew, and is a change each time, since a host never shows which one it has.
    type: str
    choices: [always, on_create]
    default: on_create
  role:
    description:
      - The role's name. Whoever else has this role gets its privileges too, so that it should be the monitor's alone.
    type: str
    default: libreha_monitor
  additional_privileges:
    description:
      - Privileges beyond those that the monitor needs, such as V(Global.Licenses), V(Sessions.TerminateSession) and
        V(Cryptographer.ManageKeys), with which M(libreha.vmware.preflight_info) sees more. They allow more than reading.
    type: list
    elements: str
    default: []
  description:
    description:
      - How the host describes the user.
    type: str
    default: "libreha: watches this host and fails its VMs over"
extends_documentation_fragment:
  - libreha.vmware.host
attributes:
  check_mode:
    description: Tells what would be changed, after all checks.
    support: full
  diff_mode:
    description: Shows role, user and permission before and after, never a password.
    support: full
seealso:
  - module: libreha.vmware.preflight_info
"""

EXAMPLES = r"""
- name: A user of the monitor's own
  libreha.vmware.esxi_monitor_user:
    hostname: 192.0.2.11
    username: root
    password: "{{ vault_esxi_root_password }}"
    monitor_user: libreha
    monitor_password: "{{ vault_libreha_password }}"
  delegate_to: localhost
"""

RETURN = r"""
steps:
  description: What was changed, in order. In check mode, what would be changed.
  returned: always
  type: list
  elements: str
  sample: ["change the role libreha_monitor: +Resource.AssignVMToPool"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.esxi_monitor_user import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
