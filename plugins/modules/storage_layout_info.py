#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_layout_info
short_description: What a storage server has before a target is built on it
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Reads disks and who uses them, what LVM has, the machine's addresses, which modules its kernel lacks, and whether
    firewalld runs, all in one look.
  - The role P(libreha.vmware.iscsi_target#role) judges by it what it would change.
  - It needs no package. Where LVM is not installed there is nothing of it.
  - Run it as root on the storage server. It changes nothing and loads nothing.
options:
  disks:
    description:
      - Paths of the disks to look at.
    type: list
    elements: path
    default: []
  kernel_modules:
    description:
      - Modules of the kernel that are needed.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - libreha.vmware.info
requirements:
  - blkid (util-linux), ip (iproute2)
seealso:
  - module: libreha.vmware.iscsi_target
"""

EXAMPLES = r"""
- name: Look at the disks before they are used
  libreha.vmware.storage_layout_info:
    disks:
      - /dev/disk/by-id/nvme-example-1
    kernel_modules:
      - iscsi_target_mod
  register: found
  become: true
"""

RETURN = r"""
layout:
  description: What was found.
  returned: success
  type: dict
  contains:
    disks:
      description: The disks in the order given.
      type: list
      elements: dict
      contains:
        path:
          description: As it was given.
          type: str
        device:
          description: The kernel's name, empty where there is no block device.
          type: str
        size:
          description: In bytes.
          type: int
        use:
          description: In words, who uses it or a part of it. Empty when nobody does.
          type: str
        signature:
          description: What it carries (a file system, LVM, RAID, a partition table). Empty when nothing.
          type: str
    lvm:
      description: Rows of LVM's reports in the lists C(vg), C(pv) and C(lv), with sizes in bytes.
      type: dict
    addresses:
      description: The machine's own addresses.
      type: list
      elements: str
    missing_kernel_modules:
      description: Those of O(kernel_modules) that the running kernel neither has nor can load.
      type: list
      elements: str
    firewalld:
      description: Whether firewalld runs.
      type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.storage_layout_info import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
