#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: tgt_target
short_description: Build and keep an iSCSI target of tgt, where the kernel's own cannot be had
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Brings one target of tgtd into the state that is described - its LUNs, and the initiators that are admitted, with their CHAP
    accounts - and tgtd's portals.
  - It is saved durably in O(file), which tgt loads at its next start, mode 0600.
  - Sessions of hosts go on. A portal, a LUN, an initiator or an account is added by requests to tgtd that touch no session.
    C(tgt-admin --update) is not used, because it deletes a target that is in use, with all its sessions, or does nothing.
  - Nothing is taken from the hosts. A LUN or an initiator that is described no more, another disk under a known number, and CHAP that
    is left out are refused, with what to do by hand.
  - A fenced initiator (M(libreha.vmware.iscsi_fence)) is not let back in, neither in tgtd nor in the file. Its line is written as the
    fence marked it, so its unfence finds it.
  - A LUN's identity is the one that M(libreha.vmware.iscsi_target) gives it, for the same names of target and LUN. So a datastore is the
    same disk with both.
  - Everything is checked first. With one thing wrong nothing is changed, and the task names all that is wrong.
  - Initiators are admitted by name only, and each sees all LUNs; tgt knows no other way.
  - Run it as root on the storage server.
options:
  name:
    description:
      - The target's name, C(iqn.YEAR-MONTH.REVERSED-DOMAIN:NAME). It is taken in lower case.
    type: str
    required: true
  portals:
    description:
      - Where tgtd listens. They belong to tgtd and all its targets, and are opened and closed in the running tgtd.
      - At its next start tgtd listens where its command line says, C(tgtd --iscsi portal=ADDRESS:PORT). The role
        P(libreha.vmware.iscsi_target#role) sets that too, this module does not.
      - One that is not described is closed, unless tgtd has other targets. Sessions that began there go on.
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
      - The LUNs.
      - Writes are on the disk when they are acknowledged (C(write-cache off)).
    type: list
    elements: dict
    default: []
    suboptions:
      number:
        description:
          - The LUN's number, 1 to 255. LUN 0 is tgt's own. Never change it.
        type: int
        required: true
      name:
        description:
          - A name of its own. The LUN's serial is derived from it, so do not rename it.
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
          - The disk, by a name that a restart does not change, or the file. Letters, digits and C(_./:+@-) only.
          - A file that is not there is made, sparse and readable by root only. Its folder must be there.
        type: path
        required: true
      size:
        description:
          - Size of a file, such as V(500GiB). Units are powers of 1024. Required with O(luns[].type=fileio).
          - A larger one makes the file longer. tgtd sees it, and that a volume has grown, at its next start only; there is a
            warning until then. A smaller one is refused.
        type: str
      serial:
        description:
          - The unit's serial, a UUID or 16 to 36 hexadecimal digits. The default is a UUID derived from the names of target and LUN.
        type: str
      existing_data:
        description:
          - Whether the disk or file of a new LUN may have content. V(refuse) protects a disk that carries a file system, a volume
            group, a partition table or the like, and a file that is not empty. VMFS is never refused.
        type: str
        choices: [refuse, export]
        default: refuse
  initiators:
    description:
      - The initiators that are admitted. Nobody else is.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description:
          - The initiator's name, spelled as the host spells it. tgt compares names letter by letter.
          - Where a host that is logged in, or else the target, spells it another way, that spelling is admitted too, with a warning.
        type: str
        required: true
      chap:
        description:
          - CHAP. Either all initiators have it, or none.
        type: dict
        suboptions:
          user:
            description:
              - The name that the initiator gives, one of its own. The default is the initiator's name, as ESXi has it.
            type: str
          secret:
            description:
              - The secret that the initiator proves, 12 to 255 letters, digits and C(_.:+/@-).
              - tgt's own start gives it to C(tgtadm) on a command line, where for a moment every user of the machine can read it.
              - After an unfence the initiator has a new secret. One that is not in force is refused, see O(disrupt).
            type: str
            required: true
  nop_interval:
    description:
      - After how many seconds tgtd asks a host whether it lives, and how often, 3 to 60.
      - As with O(portals), the command line of tgtd has it for its next start.
    type: int
    default: 3
  nop_count:
    description:
      - How many of these questions may be unanswered before tgtd ends the connection, 1 to 20.
    type: int
    default: 1
  disrupt:
    description:
      - Initiators whose CHAP secret this run may replace. A session that lives goes on, the next login needs the new secret.
    type: list
    elements: str
    default: []
  file:
    description:
      - Where the target is written. It is this module's alone, and O(saved_config) must include it.
    type: path
    default: /etc/tgt/conf.d/libreha.conf
  saved_config:
    description:
      - The file that tgt loads at its start, the same as in M(libreha.vmware.iscsi_fence).
    type: path
    default: /etc/tgt/targets.conf
  fence_list:
    description:
      - The fence list of this storage server, as M(libreha.vmware.iscsi_fence) has it.
    type: path
    default: /var/lib/libreha/fences.json
  control_port:
    description:
      - The control port of tgtd, the number after C(tgtd -C).
    type: int
    default: 0
  timeout:
    description:
      - Seconds to wait for each answer of tgtd.
    type: float
    default: 5.0
requirements:
  - tgt 1.0.85 or a later 1.0, running
  - blkid, for a new disk
attributes:
  check_mode:
    description: Tells what would be changed, after all checks. It goes through without a running tgtd too.
    support: full
  diff_mode:
    description: Shows the file before and after. Never a secret, only whether one is replaced.
    support: full
seealso:
  - module: libreha.vmware.iscsi_target
  - module: libreha.vmware.iscsi_fence
"""

EXAMPLES = r"""
- name: One datastore on a logical volume, two storage networks, two hosts
  libreha.vmware.tgt_target:
    name: iqn.2026-01.com.example:storage1
    portals:
      - address: 192.0.2.1
      - address: 198.51.100.1
    luns:
      - number: 1
        name: ds1
        type: block
        path: /dev/vg_storage/ds1
    initiators:
      - name: iqn.1998-01.com.vmware:esx1
        chap:
          secret: "{{ esx1_chap_secret }}"
      - name: iqn.1998-01.com.vmware:esx2
        chap:
          secret: "{{ esx2_chap_secret }}"
  become: true
"""

RETURN = r"""
steps:
  description: What was done, in order. In check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample: ["create target iqn.2026-01.com.example:storage1", "add LUN 1 (/dev/vg_storage/ds1)", "write /etc/tgt/conf.d/libreha.conf"]
naa:
  description: The NAA name of each LUN, by which hosts know the disk (ESXi shows C(naa.6001405...)).
  returned: success
  type: dict
  sample: {"ds1": "naa.60014050b9b2dc22a3c5e62bd440ac0d"}
fenced:
  description: Initiators that are described, and fenced, and were therefore not admitted.
  returned: success
  type: list
  elements: str
  sample: []
file:
  description: Where it was saved.
  returned: success
  type: str
  sample: /etc/tgt/conf.d/libreha.conf
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
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out
from ansible_collections.libreha.vmware.plugins.module_utils.entry.tgt_target import argument_spec, run


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
