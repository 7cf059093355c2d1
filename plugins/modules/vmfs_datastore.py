#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vmfs_datastore
short_description: One VMFS datastore on a shared LUN, created once and mounted by all hosts
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Brings one VMFS datastore onto a LUN and all hosts to it. The first host creates it, the others only mount it. Where it is there
    already, nothing is created.
  - A LUN is formatted only when every host and the storage server were asked and none knows of anything on it. That is a VMFS, mounted or
    not, a partition table, even an empty one, a file system, a volume group, or any other byte where these begin.
    ESXi itself asks nobody, so a party that does not answer stops the run, and nothing is changed.
  - A VMFS is never renamed. One with another name is refused.
  - A VMFS that was made on another disk (a snapshot, a replica, or a LUN whose identity changed) is neither mounted nor formatted. It gets
    an identity of its own only where O(resignature) names its UUID.
  - A rescan is made on a host that has not mounted it. That alone is no change.
  - It talks to the hosts themselves, not to a vCenter.
options:
  datastore:
    description:
      - The name of the datastore, 1 to 42 characters.
    type: str
    required: true
  target:
    description:
      - The iSCSI target that exports the LUN. It is taken in lower case.
    type: str
    required: true
  lun:
    description:
      - The LUN's number, as the hosts see it.
    type: int
    required: true
  lun_contents:
    description:
      - What M(libreha.vmware.lun_content_info) returned as C(luns) on the storage server, shortly before.
      - Without it nothing is created, and a datastore that is there is mounted all the same.
    type: list
    elements: dict
    default: []
    suboptions:
      target:
        description: The target's name.
        type: str
        required: true
      lun:
        description: The LUN's number.
        type: int
        required: true
      path:
        description: What it lies on.
        type: str
        default: ""
      size:
        description: In bytes. The hosts must see the same.
        type: int
        required: true
      blank:
        description: Whether it was read and holds nothing.
        type: bool
        required: true
      content:
        description: In words, what it holds.
        type: str
        default: ""
  create:
    description:
      - Whether the datastore may be created. V(false) only mounts it.
    type: bool
    default: true
  resignature:
    description:
      - UUID of the VMFS copy that is to become a datastore of its own. Its UUID changes thereby, so VMs that are registered by the old
        one must be registered anew. The error that refuses a copy names it.
    type: str
  rescan_timeout:
    description: Seconds that a rescan of one host may take.
    type: float
    default: 120.0
extends_documentation_fragment:
  - libreha.vmware.hosts
attributes:
  check_mode:
    description: Tells what would be changed, after all checks. It does not rescan, so it judges by what the hosts know already.
    support: full
  diff_mode:
    description: Shows the datastore and its hosts before and after.
    support: full
notes:
  - Two runs at the same time are not kept from each other, other than by one more look directly before the format.
seealso:
  - module: libreha.vmware.lun_content_info
  - module: libreha.vmware.esxi_iscsi
  - module: community.vmware.vmware_host_datastore
"""

EXAMPLES = r"""
- name: Look on the storage server what the LUNs hold
  libreha.vmware.lun_content_info:
  delegate_to: san1
  become: true
  register: found

- name: The datastore ds1 on all hosts
  libreha.vmware.vmfs_datastore:
    hosts: "{{ groups.libreha_hosts | libreha.vmware.host_connections(hostvars) }}"
    datastore: ds1
    target: iqn.2026-01.com.example:san1
    lun: 0
    lun_contents: "{{ found.luns }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
steps:
  description: What was changed, in order. In check mode, what would be changed.
  returned: always
  type: list
  elements: str
  sample: ["create the datastore on esx1", "mount it on esx2"]
datastore:
  description: The datastore.
  returned: success
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: ds1
    uuid:
      description: The VMFS UUID; empty in check mode where it would be created.
      type: str
      sample: 65a1b2c3-d4e5f607-1829-3a4b5c6d7e8f
    disk:
      description: The disk's name on the hosts.
      type: str
      sample: naa.60014050b9b2dc22a3c5e62bd440ac0d
    hosts:
      description: The hosts that have mounted it, in check mode those that would have.
      type: list
      elements: str
      sample: ["esx1", "esx2"]
refusals:
  description: Everything that speaks against it. Nothing was changed.
  returned: failure, when something was refused
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out
from ansible_collections.libreha.vmware.plugins.module_utils.entry.vmfs_datastore import argument_spec, run


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
