#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: esxi_iscsi
short_description: Set up the software iSCSI adapter of a standalone ESXi host
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Brings the software iSCSI adapter of one host into the state that is described - on, with its initiator's name, the vmkernel ports that
    are bound to it, CHAP, and the targets that it discovers or logs in to. Then it rescans.
  - What an option does not describe is left alone. What the host has beyond a description is left alone too, and named in
    RV(undescribed), unless O(purge).
  - The run ends well only if the host has a path that works to the targets, so a wrong secret or a missing ACL shows here and not
    at the first failover.
  - An initiator that is logged in is not renamed, since the target knows the host by its name, and fences it by its name.
  - It talks to the host itself, not to a vCenter.
options:
  initiator:
    description:
      - The initiator's name. It is taken in lower case. The default is what the host has.
      - Each host must have a name of its own; it is fenced by it.
    type: str
  vmkernel_ports:
    description:
      - The vmkernel ports that are bound to the adapter, such as V(vmk1).
      - Binding is for ports in the same IP network as all portals. Where each storage network is an IP network of its own, bind none.
    type: list
    elements: str
  chap:
    description:
      - CHAP of the adapter, which all targets inherit.
    type: dict
    suboptions:
      level:
        description:
          - V(required) logs in by CHAP only. V(preferred) goes on without it where the target has none, V(discouraged) uses it only
            where the target insists. V(prohibited) switches it off.
        type: str
        choices: [prohibited, discouraged, preferred, required]
        default: required
      user:
        description:
          - The name that the host gives. The default is the initiator's name.
        type: str
      secret:
        description:
          - The secret that the host proves, 12 to 255 printable ASCII characters without spaces. Required unless
            O(chap.level=prohibited).
        type: str
      mutual_user:
        description:
          - The name that the target gives, for mutual CHAP, which needs O(chap.level=required).
        type: str
      mutual_secret:
        description:
          - The secret that the target proves, another one than O(chap.secret).
        type: str
      update_secret:
        description:
          - A host never tells which secret it has, so a new one cannot be told from the one that it has.
          - With V(on_create) the secrets are set when something else of CHAP changes. With V(always) they are set by every run,
            which then reports a change. Use it once after a secret was changed, as by an unfence.
        type: str
        choices: [always, on_create]
        default: on_create
  send_targets:
    description:
      - Portals that are asked for their targets (dynamic discovery).
    type: list
    elements: dict
    suboptions:
      address:
        description: Name or address of the portal.
        type: str
        required: true
      port:
        description: Its TCP port.
        type: int
        default: 3260
  static_targets:
    description:
      - Targets that are logged in to without discovery. Those that discovery found are not counted as such.
    type: list
    elements: dict
    suboptions:
      name:
        description: The target's name. It is taken in lower case.
        type: str
        required: true
      address:
        description: Name or address of its portal.
        type: str
        required: true
      port:
        description: Its TCP port.
        type: int
        default: 3260
  purge:
    description:
      - Whether ports and targets that the host has and that a given option does not describe are removed. The host refuses to remove
        what a datastore uses.
    type: bool
    default: false
  rescan:
    description:
      - Rescan also when there is nothing to change. A rescan is no change. Without this it is made after a change, and where a path
        is missing.
    type: bool
    default: false
  require_login:
    description:
      - Whether it is an error when the host has no path that works to a described target, or to one that discovery found.
      - A target that exports no LUN to the host gives no path.
    type: bool
    default: true
  rescan_timeout:
    description: Seconds that a rescan may take.
    type: float
    default: 120.0
  login_timeout:
    description: Seconds after a rescan within which the paths must work.
    type: float
    default: 30.0
extends_documentation_fragment:
  - libreha.vmware.host
attributes:
  check_mode:
    description: Tells what would be changed. It does not rescan, and does not judge by logins.
    support: full
  diff_mode:
    description: Shows the adapter before and after. Never a secret.
    support: full
seealso:
  - module: libreha.vmware.iscsi_target
  - module: community.vmware.vmware_host_iscsi
"""

EXAMPLES = r"""
- name: Two storage networks, mutual CHAP
  libreha.vmware.esxi_iscsi:
    hostname: 192.0.2.11
    username: root
    password: "{{ vault_esxi_password }}"
    initiator: iqn.1998-01.com.vmware:esx1
    chap:
      secret: "{{ vault_esx1_chap_secret }}"
      mutual_user: san1
      mutual_secret: "{{ vault_san1_chap_secret }}"
    send_targets:
      - address: 198.51.100.1
      - address: 203.0.113.1
  delegate_to: localhost

- name: One storage network, two uplinks with a vmkernel port each
  libreha.vmware.esxi_iscsi:
    hostname: 192.0.2.11
    username: root
    password: "{{ vault_esxi_password }}"
    vmkernel_ports: [vmk1, vmk2]
    static_targets:
      - name: iqn.2026-01.com.example:san1
        address: 198.51.100.1
  delegate_to: localhost

- name: After an unfence, set the new secret once
  libreha.vmware.esxi_iscsi:
    hostname: 192.0.2.11
    username: root
    password: "{{ vault_esxi_password }}"
    chap:
      secret: "{{ vault_esx1_chap_secret }}"
      update_secret: always
  delegate_to: localhost
"""

RETURN = r"""
steps:
  description: What was changed, in order. In check mode, what would be changed.
  returned: always
  type: list
  elements: str
  sample: ["enable the software iSCSI adapter", "set CHAP", "add the send target 198.51.100.1:3260"]
adapter:
  description: The adapter as it is; in check mode, as it would be.
  returned: success
  type: dict
  contains:
    enabled:
      description: Whether it is on.
      type: bool
    device:
      description: Its name on the host; V((new\)) in check mode where it is off.
      type: str
      sample: vmhba64
    initiator:
      description: The initiator's name.
      type: str
      sample: iqn.1998-01.com.vmware:esx1
    vmkernel_ports:
      description: Ports that are bound to it.
      type: list
      elements: str
    chap:
      description: What the host tells of CHAP.
      type: dict
      sample: {"level": "required", "user": "iqn.1998-01.com.vmware:esx1", "mutual_user": "san1"}
    send_targets:
      description: Portals that are asked for their targets.
      type: list
      elements: str
      sample: ["198.51.100.1:3260"]
    static_targets:
      description: Targets that were entered.
      type: list
      elements: str
      sample: ["iqn.2026-01.com.example:san1 at 198.51.100.1:3260"]
logged_in:
  description: Targets to which a path works. In check mode, as found.
  returned: success
  type: list
  elements: str
  sample: ["iqn.2026-01.com.example:san1"]
undescribed:
  description: Ports and targets that the host had beyond the description, and that were left alone.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.esxi_iscsi import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
