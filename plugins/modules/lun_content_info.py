#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: lun_content_info
short_description: Whether the LUNs of a storage server are blank
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Reads on the storage server itself what the LUNs hold that its iSCSI target exports.
  - A host cannot tell. It shows a LUN with a file system and no partition table as a blank disk, and formats it without asking.
    M(libreha.vmware.vmfs_datastore) therefore creates a datastore only where this module has found the LUN blank.
  - A LUN is blank when its first 16 MiB and its last MiB are zeros. It is read past the page cache.
  - Run it as root on the storage server. It changes nothing.
options:
  driver:
    description: The target service.
    type: str
    choices: [lio, tgt]
    default: lio
  control_port:
    description: The number after C(tgtd -C). For O(driver=tgt) only.
    type: int
    default: 0
  timeout:
    description: Seconds to wait for each answer of tgtd.
    type: float
    default: 5.0
extends_documentation_fragment:
  - libreha.vmware.info
seealso:
  - module: libreha.vmware.vmfs_datastore
  - module: libreha.vmware.iscsi_target
"""

EXAMPLES = r"""
- name: Look at what the LUNs hold
  libreha.vmware.lun_content_info:
  register: found
  become: true

- name: Show those that hold something
  ansible.builtin.debug:
    msg: "{{ found.luns | rejectattr('blank') }}"
"""

RETURN = r"""
luns:
  description: Every LUN of every target that runs there.
  returned: success
  type: list
  elements: dict
  contains:
    target:
      description: The target's name, in lower case.
      type: str
      sample: iqn.2026-01.com.example:san1
    lun:
      description: The number by which initiators know it.
      type: int
      sample: 0
    path:
      description: What it lies on. Empty where initiators do not all see the same under this number.
      type: str
      sample: /dev/vg_storage/ds1
    size:
      description: In bytes. 0 where it could not be read.
      type: int
    blank:
      description: Whether it was read and holds nothing.
      type: bool
    content:
      description: In words, what it holds, or why that is not known. Empty for a blank one.
      type: str
      sample: an ext file system
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.lun_content_info import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
