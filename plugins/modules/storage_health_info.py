#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: storage_health_info
short_description: The storage server's own health - space, RAID, disks
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Reads, on the machine that the task runs on, how full thin pools, their metadata, snapshots and the file systems under the target's
    files are, and the state of volume groups, LVM RAID volumes, arrays of the kernel (md) and, by SMART, the disks.
  - It gives figures and states. How full is too full is the policy's (C(libreha_policy.storage_health)). M(libreha.vmware.ha_run)
    judges it, with the growth since earlier looks, and raises the alarms.
  - A tool that is missing, hangs or prints something else is a sensor that is V(unknown) with the reason and the remedy, and no failed
    task. Nothing is V(green) because it could not be read.
  - All tools run at the same time, each within O(timeout). It changes nothing, and wakes no disk that sleeps. Run it as root on the
    storage server.
extends_documentation_fragment:
  - libreha.vmware.info
  - libreha.vmware.storage
options:
  name:
    description:
      - The name of the storage server in the inventory; the result names it so.
      - The default is the machine's host name.
    type: str
  paths:
    description:
      - Files or folders on file systems that must not fill up, whether they exist yet or not. The files that the running target exports
        and the folder of O(fence_list) are always among them.
    type: list
    elements: path
    default: [/var/lib/libreha]
  smart:
    description:
      - Whether the disks are asked, too. The playbooks do it every C(libreha_policy.storage_health.disk_interval).
    type: bool
    default: true
  saved_config:
    description:
      - The saved configuration of the target, read for what it exports after its next start. The default is the driver's usual one.
  timeout:
    description:
      - Seconds that each tool may take.
requirements:
  - lvm2 (where there are LVM volumes)
  - smartmontools 7.0 or newer (for O(smart))
seealso:
  - module: libreha.vmware.iscsi_session_info
  - module: libreha.vmware.ha_run
"""

EXAMPLES = r"""
- name: Look at the health of the storage servers
  libreha.vmware.storage_health_info:
    name: "{{ item }}"
    driver: lio
  delegate_to: "{{ item }}"
  loop: "{{ groups['libreha_storage'] }}"
  register: looks
  become: true

- name: No array may be degraded, no disk may fail
  ansible.builtin.assert:
    that: item.health != 'red'
    fail_msg: "{{ item.name }}: {{ item.reason }}. {{ item.remedy }}"
  loop: "{{ looks.results | map(attribute='storage_health.sensors') | flatten }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
storage_health:
  description: One look at the health of the storage server, as M(libreha.vmware.ha_run) judges it.
  returned: success
  type: dict
  contains:
    name:
      description: The name of the storage server.
      type: str
      sample: san1
    taken_at:
      description: When, on the storage server's boot-time clock (boot_id, seconds), with the wall time for people.
      type: dict
    sensors:
      description:
        - The states of volume groups, thin pools, snapshots that are lost, RAID volumes and arrays, and what could not be read.
      type: list
      elements: dict
      contains:
        name:
          description: What it is.
          type: str
          sample: array md0
        health:
          description: V(green), V(yellow), V(red) or V(unknown).
          type: str
          sample: red
        reading:
          description: What was read, for people.
          type: str
          sample: raid1, 1 of 2 members
        reason:
          description: Why it is not green.
          type: str
          sample: "it lacks 1 of 2 members: the next disk to fail may take it"
        remedy:
          description: What to do about it.
          type: str
          sample: "replace the disk: mdadm /dev/md0 --remove failed, then --add the new one"
        source:
          description: The part of the look that it is from - V(LVM), V(software RAID), V(file systems) or V(disks).
          type: str
          sample: software RAID
        wear:
          description: Of a disk, the percentage of its rated writes that is used up. V(null) where it does not tell.
          type: float
    fills:
      description: What fills up.
      type: list
      elements: dict
      contains:
        name:
          description: What it is.
          type: str
          sample: thin pool san/pool data
        kind:
          description: V(thin_data), V(thin_metadata), V(snapshot), V(file_system) or V(inodes).
          type: str
          sample: thin_data
        used:
          description: Bytes in use; with V(inodes) their number.
          type: float
          sample: 178257920.0
        size:
          description: Bytes, or inodes, that there are.
          type: float
          sample: 209715200.0
        reserve:
          description: Bytes by which it grows automatically before it is really full.
          type: float
          sample: 0.0
        note:
          description: What a person should know beside the figures.
          type: str
          sample: it is not extended automatically, 3.8 GiB left in san
        remedy:
          description: What to do when it is too full.
          type: str
          sample: lvextend -l +50%FREE san/pool
        source:
          description: As of a sensor.
          type: str
          sample: LVM
    disks:
      description: The disks as sensors, of the same form as C(sensors). V(null) with O(smart=false).
      type: list
      elements: dict
    figures:
      description: All that was read, in numbers.
      type: dict
      contains:
        thin_pools:
          description: Thin pools with size, percent, metadata_size, metadata_percent, state, virtual_size, autoextend and when_full.
          type: list
          elements: dict
        volume_groups:
          description: Volume groups with size, free (bytes) and missing (physical volumes).
          type: list
          elements: dict
        snapshots:
          description: Classic snapshots with origin, size, percent and invalid.
          type: list
          elements: dict
        raid_volumes:
          description: LVM RAID volumes with type, state, sync_percent and mismatches.
          type: list
          elements: dict
        arrays:
          description: Arrays of the kernel with level, state, members, degraded, failed, action, percent, finish (seconds) and mismatches.
          type: list
          elements: dict
        file_systems:
          description: File systems with mount, size, free (bytes), inodes, inodes_free, and the paths that each C(holds).
          type: list
          elements: dict
        disks:
          description: Disks with what SMART told of each; empty with O(smart=false).
          type: list
          elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.storage_health_info import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
