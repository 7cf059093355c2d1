#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: iscsi_target
short_description: Build and keep an iSCSI target of the Linux kernel (LIO), as a whole
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Brings one target of the kernel (LIO) into the state that is described - its backstores, portal groups, portals, LUNs, and for each
    initiator an ACL with the LUNs that it sees and its CHAP secrets. What is not described is taken away. Other targets are left alone.
  - It is saved durably where the target service restores it from, so a restart brings back exactly this. The folder in which the kernel
    keeps persistent reservations is made, since without it every persistent reservation fails.
  - Data is never touched. No file or volume is removed, emptied or made smaller. A LUN is taken away from the hosts only if
    O(remove_backstores) names its backstore, and a backstore is never made anew under them.
  - Sessions of hosts go on. A change that would end one, or take a LUN from a host that has one, is refused unless O(disrupt) names
    the initiator.
  - A fenced initiator (M(libreha.vmware.iscsi_fence)) is not let back in. What is described for it is kept, and given to it by its unfence.
  - A fence retires the initiator's CHAP secret for good, because a host that was not restarted since still knows it. So a description
    that has a retired secret for an initiator that is admitted is refused. After an unfence, put the new secret into the inventory.
  - Everything is checked first. With one thing wrong nothing is changed, and the task names all that is wrong.
  - Initiators are admitted by name only; demo mode is off.
  - Run it as root on the storage server.
options:
  state:
    description:
      - V(absent) removes the target and the kernel's objects of the backstores that it exports. Their data stays where it is.
      - Hosts that have a session must be named in O(disrupt).
    type: str
    choices: [present, absent]
    default: present
  name:
    description:
      - The target's name, C(iqn.YEAR-MONTH.REVERSED-DOMAIN:NAME). It is taken in lower case.
    type: str
    required: true
  backstores:
    description:
      - What the LUNs' data lies on.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - A name of its own. Hosts see its first 16 characters as the disk's model.
          - The LUN's serial is derived from it, so do not rename it.
        type: str
        required: true
      type:
        description:
          - V(block) is a disk, partition or logical volume, V(fileio) a file.
        type: str
        choices: [block, fileio]
        required: true
      path:
        description:
          - The disk, by a name that a restart does not change (C(/dev/VG/LV), C(/dev/disk/by-id/...)), or the file.
          - A file that is not there is made, sparse and readable by root only. Its folder must be there.
        type: path
        required: true
      size:
        description:
          - Size of a file, such as V(500GiB), V(500G) or in bytes. Units are powers of 1024. Required with O(backstores[].type=fileio).
          - A larger one lets it grow while hosts use it; they see it after a rescan. A smaller one is refused.
          - A disk is as large as it is. When a logical volume has grown, hosts see it after a rescan.
        type: str
      serial:
        description:
          - The unit's serial, a UUID or 16 to 64 hexadecimal digits. The LUN's NAA name, by which VMFS knows its disk, is made of it.
          - The default is what the backstore has already, otherwise a UUID derived from the names of target and backstore. It is the
            same after a new installation, and on a second server.
        type: str
      write_back:
        description:
          - Let a file's writes wait in the server's memory until the host asks for a flush.
          - It is faster, and what hosts believe written is lost with the server's power. There is a warning.
        type: bool
        default: false
      unmap:
        description:
          - Let hosts give room back with UNMAP (C(emulate_tpu)). The default is where the disk can discard.
        type: bool
      existing_data:
        description:
          - Whether a new backstore's disk or file may have content. V(refuse) protects a disk that carries a file system, a
            volume group, a partition table or the like, and a file that is not empty.
          - What the saved configuration knows by this name and path is never refused, nor is VMFS.
        type: str
        choices: [refuse, export]
        default: refuse
      attributes:
        description:
          - Other attributes of the backstore, as in configfs.
        type: dict
        default: {}
  tpgs:
    description:
      - The target portal groups. One is enough for most; hosts then see all portals as paths to the same LUNs.
    type: list
    elements: dict
    default: []
    suboptions:
      tag:
        description:
          - The group's number.
        type: int
        default: 1
      enabled:
        description:
          - Whether hosts can log in.
        type: bool
        default: true
      portals:
        description:
          - Addresses of this machine at which hosts log in, one for each storage network.
        type: list
        elements: dict
        default: []
        suboptions:
          address:
            description:
              - An address that this machine has.
            type: str
            required: true
          port:
            description:
              - The TCP port.
            type: int
            default: 3260
          floating:
            description:
              - The address need not be here now. It comes when this machine takes over from another.
              - The kernel must have C(net.ipv4.ip_nonlocal_bind=1), for IPv6 C(net.ipv6.ip_nonlocal_bind=1).
            type: bool
            default: false
      luns:
        description:
          - The backstores that the group exports.
        type: list
        elements: dict
        default: []
        suboptions:
          number:
            description:
              - The LUN's number. Never change it; hosts know their disks by it too.
            type: int
            required: true
          backstore:
            description:
              - The name of one of O(backstores).
            type: str
            required: true
      acls:
        description:
          - The initiators that are admitted.
        type: list
        elements: dict
        default: []
        suboptions:
          initiator:
            description:
              - The initiator's name, which each host has for itself. It is taken in lower case.
            type: str
            required: true
          luns:
            description:
              - The LUNs that it sees. The default is all of the group, by the same numbers.
            type: list
            elements: dict
            suboptions:
              lun:
                description:
                  - The number in O(tpgs[].luns).
                type: int
                required: true
              number:
                description:
                  - The number that the initiator sees, 0 to 255. The default is the same.
                type: int
              write_protect:
                description:
                  - Whether it may only read.
                type: bool
                default: false
          chap:
            description:
              - CHAP. Either all initiators of a group have it, or none.
            type: dict
            suboptions:
              user:
                description:
                  - The name that the initiator gives. The default is the initiator's name, as ESXi has it.
                type: str
              secret:
                description:
                  - The secret that the initiator proves, 12 to 255 printable ASCII characters without spaces. Some initiators take no
                    more than 16.
                  - After an unfence the initiator has a new secret; put it here as well, or this module sets the old one again.
                type: str
                required: true
              mutual_user:
                description:
                  - The name that the target gives, for mutual CHAP.
                type: str
              mutual_secret:
                description:
                  - The secret that the target proves, another one than O(tpgs[].acls[].chap.secret).
                type: str
          attributes:
            description:
              - Other attributes of the ACL, as in configfs, such as C(dataout_timeout).
            type: dict
            default: {}
      nopin_timeout:
        description:
          - After how many seconds without a sign of life the target asks a host whether it lives, 3 to 60. LIO's own default is 15.
        type: int
        default: 3
      nopin_response_timeout:
        description:
          - For how many seconds it waits for the answer before it ends the session, 3 to 60. LIO's own default is 30.
        type: int
        default: 3
      queue_depth:
        description:
          - How many commands one session may have under way, 1 to 512 (C(default_cmdsn_depth)). It applies to ACLs that are made from
            then on, and to all after a restart of the target service.
        type: int
        default: 64
      attributes:
        description:
          - Other attributes of the group, as in configfs.
        type: dict
        default: {}
      parameters:
        description:
          - Parameters of iSCSI (RFC 7143) that the target offers, such as C(MaxRecvDataSegmentLength). New sessions use them.
        type: dict
        default: {}
  remove_backstores:
    description:
      - Names of backstores that may be taken away from the hosts and out of the kernel. Their data stays where it is.
    type: list
    elements: str
    default: []
  disrupt:
    description:
      - Initiators whose sessions this run may end, or whose LUNs it may take while they have a session.
    type: list
    elements: str
    default: []
  saved_config:
    description:
      - The save file of rtslib-fb and targetcli. The default is that of the distribution,
        C(/etc/rtslib-fb-target/saveconfig.json) or C(/etc/target/saveconfig.json).
    type: path
  fence_list:
    description:
      - The fence list of this storage server, as M(libreha.vmware.iscsi_fence) has it.
    type: path
    default: /var/lib/libreha/fences.json
requirements:
  - rtslib-fb >= 2.1.74 (C(python3-rtslib-fb) on Debian and Ubuntu, C(python3-rtslib) on the RHEL family)
  - The kernel modules target_core_mod and iscsi_target_mod
  - blkid, for a new block backstore
attributes:
  check_mode:
    description: Tells what would be changed, after all checks. It loads no kernel module.
    support: full
  diff_mode:
    description: Shows the target before and after, as it is described here. Never a secret, only whether one is replaced.
    support: full
seealso:
  - module: libreha.vmware.iscsi_fence
  - module: libreha.vmware.iscsi_session_info
"""

EXAMPLES = r"""
- name: One datastore on a logical volume, two storage networks, two hosts
  libreha.vmware.iscsi_target:
    name: iqn.2026-01.com.example:storage1
    backstores:
      - name: ds1
        type: block
        path: /dev/vg_storage/ds1
    tpgs:
      - portals:
          - address: 192.0.2.1
          - address: 198.51.100.1
        luns:
          - number: 0
            backstore: ds1
        acls:
          - initiator: iqn.1998-01.com.vmware:esx1
            chap:
              secret: "{{ esx1_chap_secret }}"
          - initiator: iqn.1998-01.com.vmware:esx2
            chap:
              secret: "{{ esx2_chap_secret }}"
  become: true

- name: A file, a second LUN that one host may only read, mutual CHAP
  libreha.vmware.iscsi_target:
    name: iqn.2026-01.com.example:storage1
    backstores:
      - name: ds1
        type: block
        path: /dev/vg_storage/ds1
      - name: images
        type: fileio
        path: /srv/iscsi/images.img
        size: 200GiB
    tpgs:
      - portals:
          - address: 192.0.2.1
        luns:
          - {number: 0, backstore: ds1}
          - {number: 1, backstore: images}
        acls:
          - initiator: iqn.1998-01.com.vmware:esx1
            luns:
              - lun: 0
              - {lun: 1, write_protect: true}
            chap:
              user: esx1
              secret: "{{ esx1_chap_secret }}"
              mutual_user: storage1
              mutual_secret: "{{ storage1_chap_secret }}"
  become: true

- name: Take the second LUN away from the hosts, its file stays
  libreha.vmware.iscsi_target:
    name: iqn.2026-01.com.example:storage1
    backstores: "{{ backstores | rejectattr('name', 'equalto', 'images') }}"
    tpgs: "{{ tpgs_without_images }}"
    remove_backstores:
      - images
    disrupt:
      - iqn.1998-01.com.vmware:esx1
  become: true
"""

RETURN = r"""
steps:
  description: What was done, in order. In check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample: ["create /backstores/block/ds1", "create TPG 1", "TPG 1: add LUN 0 (/backstores/block/ds1)"]
target:
  description: The target as it is described, with the serials, and without secrets. Empty with O(state=absent).
  returned: success
  type: dict
  sample:
    name: iqn.2026-01.com.example:storage1
    backstores:
      ds1:
        type: block
        path: /dev/vg_storage/ds1
        size:
        serial: 0b9b2dc2-2a3c-5e62-bd44-0ac0d0a4f2a1
        write_back: false
        attributes: {emulate_tpu: "1"}
    tpgs:
      "1":
        enabled: true
        portals: ["192.0.2.1:3260"]
        luns: {"0": ds1}
        attributes: {authentication: "1", generate_node_acls: "0"}
        parameters: {}
        acls:
          iqn.1998-01.com.vmware:esx1:
            luns: {"0": LUN 0}
            attributes: {nopin_timeout: "3", nopin_response_timeout: "3"}
            chap_user: iqn.1998-01.com.vmware:esx1
            chap_secret: (hidden)
naa:
  description: The NAA name of each backstore, by which hosts know the disk (ESXi shows C(naa.6001405...)).
  returned: success
  type: dict
  sample: {"ds1": "naa.60014050b9b2dc22a3c5e62bd440ac0d"}
fenced:
  description: Initiators among the ACLs that are fenced, and were therefore not admitted.
  returned: success
  type: list
  elements: str
  sample: []
saved_config:
  description: Where it was saved.
  returned: success
  type: str
  sample: /etc/rtslib-fb-target/saveconfig.json
errors:
  description: Everything that is wrong in the options, each with its remedy.
  returned: failure, when options are wrong
  type: list
  elements: str
  sample: ["name is no iSCSI name: 'storage1'. Write iqn.YEAR-MONTH.REVERSED-DOMAIN:NAME"]
refusals:
  description: Everything that is wrong, each with its remedy. Nothing was changed.
  returned: failure, when something was refused
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.iscsi_target import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
