#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_health_info
short_description: Look at the VMs and events of many hosts at once
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Reads all VMs that the hosts have registered - power, guest, pending question, and every file with its datastore -
    and the hosts' events, from all hosts at the same time. The number of round trips does not grow with the number of VMs.
  - Of VMs that run without a heartbeat of their guest it also reads how long they have done no I/O, from the host's own statistics.
    A host on which every guest has a heartbeat is not asked for them.
  - A host that does not answer is a result (RV(unread)), not a failed task. A VM that is missing from RV(vms) is gone only if
    its host is in RV(vms_read).
  - Templates are left out. Nothing is changed.
  - This is how M(libreha.vmware.ha_run) and M(libreha.vmware.ha_drill) see the VMs.
options:
  events:
    description: Whether the hosts' events are read.
    type: bool
    default: true
  events_after:
    description:
      - Name of a host and the key of the newest of its events that is known already; only newer ones are returned,
        at most 500 for each host.
      - A host counts anew when it restarts. Where its newest key is lower than the given one, all its events are new.
    type: dict
    default: {}
extends_documentation_fragment:
  - libreha.vmware.info
  - libreha.vmware.hosts
seealso:
  - module: libreha.vmware.host_health_info
  - module: libreha.vmware.ha_run
"""

EXAMPLES = r"""
- name: Look at the VMs of all hosts
  libreha.vmware.vm_health_info:
    username: root
    password: "{{ vault_esxi_password }}"
    ca_path: /etc/libreha/ca.pem
    hosts:
      - name: esx1
        hostname: 192.0.2.11
      - name: esx2
        hostname: 192.0.2.12
    events_after:
      esx1: 1204
  register: look

- name: Name the VMs that wait for an answer
  ansible.builtin.debug:
    msg: "{{ item.name }} on {{ item.host }}: {{ item.question.text }}"
  loop: "{{ look.vms | selectattr('question') }}"
  loop_control:
    label: "{{ item.name }}"
"""

RETURN = r"""
taken_at:
  description: When the look began, on the clock of the machine that the task ran on.
  returned: success
  type: dict
  contains:
    boot_id:
      description: Which boot of that machine; instants of different boots cannot be compared.
      type: str
      returned: success
      sample: 63a0915d-5b07-4d2e-be75-c39bee8201b9
    seconds:
      description: Seconds since that boot, suspended time included.
      type: float
      returned: success
      sample: 2254.373
    wall:
      description: The same as ISO 8601, for people.
      type: str
      returned: success
      sample: "2026-11-23T20:10:15.811+00:00"
vms:
  description: All VMs of all hosts that answered, templates excluded, by host and name.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The VM's identity - UUID of the datastore and path of the vmx file there - the same on every host.
      type: str
      returned: success
      sample: 65a1b2c3-d4e5f607-1829-3a4b5c6d7e8f:vm01/vm01.vmx
    host:
      description: The host that has it registered.
      type: str
      returned: success
      sample: esx1
    name:
      description: Its name there.
      type: str
      returned: success
      sample: vm01
    path:
      description: Its vmx file.
      type: str
      returned: success
      sample: "[shared] vm01/vm01.vmx"
    taken_at:
      description: When the host was asked.
      type: dict
      returned: success
      contains:
        boot_id:
          description: Which boot.
          type: str
          returned: success
        seconds:
          description: Seconds since that boot.
          type: float
          returned: success
        wall:
          description: ISO 8601, for people.
          type: str
          returned: success
    power:
      description: V(on), V(off), V(suspended) or V(unknown).
      type: str
      returned: success
      sample: "on"
    moid:
      description: The host's own reference of the VM.
      type: str
      returned: success
      sample: "12"
    uuid:
      description: BIOS UUID.
      type: str
      returned: success
      sample: 564d1c9a-0c1f-8c5e-2f0a-3a5b7c9d1e2f
    instance_uuid:
      description: Instance UUID.
      type: str
      returned: success
      sample: 52a7c1f3-6b1e-4d0c-9a56-0f8e1d2c3b4a
    accessible:
      description: False when the host cannot read its files.
      type: bool
      returned: success
      sample: true
    heartbeat:
      description: Heartbeat of the guest - V(green), V(yellow), V(red) or V(gray).
      type: str
      returned: success
      sample: green
    tools:
      description: Running status of VMware Tools in the guest, V(guestToolsNotInstalled) where there are none.
      type: str
      returned: success
      sample: guestToolsRunning
    question:
      description: The question that the VM waits with, or null.
      type: dict
      returned: success
      contains:
        id:
          description: Names this very question.
          type: str
          returned: when a question is pending
          sample: "0"
        message_id:
          description: Names the kind of question.
          type: str
          returned: when a question is pending
          sample: msg.uuid.altered
        text:
          description: The question as the host puts it.
          type: str
          returned: when a question is pending
          sample: This virtual machine might have been moved or copied.
        choices:
          description: The possible answers.
          type: list
          elements: dict
          returned: when a question is pending
          contains:
            key:
              description: What the API takes as the answer.
              type: str
              returned: always
              sample: "1"
            label:
              description: What a person reads, with the host's own id of the choice where there is one.
              type: str
              returned: always
              sample: I Moved It (button.uuid.movedTheVM)
    memory:
      description: Configured memory in MiB.
      type: int
      returned: success
      sample: 2048
    cpu:
      description: Virtual CPUs.
      type: int
      returned: success
      sample: 2
    cpu_reserved:
      description: Reserved CPU in MHz.
      type: int
      returned: success
      sample: 0
    memory_reserved:
      description: Reserved memory in MiB.
      type: int
      returned: success
      sample: 0
    hardware_version:
      description: Version of the virtual hardware.
      type: str
      returned: success
      sample: vmx-19
    guest:
      description: The configured guest operating system.
      type: str
      returned: success
      sample: Debian GNU/Linux 12 (64-bit)
    backings:
      description: Every file of the VM. A raw device appears with its device name and no datastore.
      type: list
      elements: dict
      returned: success
      contains:
        path:
          description: The file.
          type: str
          returned: always
          sample: "[shared] vm01/vm01.vmdk"
        kind:
          description: V(vmx), V(disk), V(parent) of a snapshot, V(swap), V(snapshot), V(log) or V(cdrom).
          type: str
          returned: always
          sample: disk
        datastore:
          description: The datastore's name on this host.
          type: str
          returned: always
          sample: shared
        datastore_uuid:
          description: The datastore's UUID; empty where it has none or is not known to the host.
          type: str
          returned: always
          sample: 65a1b2c3-d4e5f607-1829-3a4b5c6d7e8f
        writable:
          description: Whether the VM may write it.
          type: bool
          returned: always
          sample: true
    io_idle:
      description:
        - Seconds for which the VM has sent no disk command and no network packet, up to the host's newest statistics, which are at
          most 60 seconds old. They are in steps of 20 seconds and reach back 300.
        - Null where that is not known - the guest has a heartbeat or no VMware Tools, the VM does not run, or the host
          has no statistics of it (see RV(io_unread)). It never means that the VM is idle.
      type: float
      returned: success
      sample: 120.0
    networks:
      description: Networks (port groups) that the VM is connected to.
      type: list
      elements: str
      returned: success
      sample: [VM Network]
    obstacles:
      description: What ties the VM to its host.
      type: list
      elements: dict
      returned: success
      contains:
        kind:
          description:
            - Without V(pci_device), V(vgpu), V(scsi_device), V(encryption_key) or V(cpu_feature) the VM does not power on.
            - Without V(dynamic_pci_device), V(usb_device), V(host_device) or V(media) it does, and lacks the device.
          type: str
          returned: always
          sample: vgpu
        device:
          description: The device as people see it.
          type: str
          returned: always
          sample: vGPU profile grid_p40-2q
        needs:
          description:
            - What another host must have - one of the C(capabilities) that M(libreha.vmware.host_health_info) returns, or
              C(datastore:UUID).
            - Empty where no other host can have it.
          type: str
          returned: always
          sample: vgpu:grid_p40-2q
    attached_disks:
      description:
        - Disks that do not lie beside the VM's .vmx file and are not set up for several writers, each as datastore UUID and path. A backup
          proxy has those of the VMs that it reads.
      type: list
      elements: str
      returned: success
      sample: []
vms_read:
  description: The hosts whose list of VMs was read.
  returned: success
  type: list
  elements: str
  sample: [esx1, esx2]
events:
  description: New events, by host, oldest first. Empty when O(events=false).
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host that tells it.
      type: str
      returned: always
      sample: esx1
    key:
      description: The host's own number of the event.
      type: int
      returned: always
      sample: 1207
    kind:
      description:
        - V(vm_powered_on), V(vm_powered_off), V(vm_suspended), V(vm_registered), V(vm_removed), V(vm_failed),
          V(host_shutdown), V(host_reboot), V(host_connection) or V(other).
      type: str
      returned: always
      sample: vm_powered_off
    at:
      description: ISO 8601, by the host's own clock.
      type: str
      returned: always
      sample: "2026-11-23T20:09:58.120000+00:00"
    vm:
      description: The VM's id, where the event is about a VM that is still registered.
      type: str
      returned: always
      sample: 65a1b2c3-d4e5f607-1829-3a4b5c6d7e8f:vm01/vm01.vmx
    vm_name:
      description: The VM's name at that time, where the event is about a VM.
      type: str
      returned: always
      sample: vm01
    user:
      description: The user who caused it, where the host says so.
      type: str
      returned: always
      sample: root
    text:
      description: The event as the host puts it.
      type: str
      returned: always
      sample: vm01 on esx1 in ha-datacenter is powered off
event_gaps:
  description:
    - The hosts whose VMs were read, but not all of their new events. One event that the API's library cannot read fails a whole page, so
      events are then read in smaller parts and what cannot be read is skipped.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host's name as given.
      type: str
      returned: always
      sample: esx3
    reason:
      description: What was tried and what came back.
      type: str
      returned: always
      sample: "esx3: 1 events could not be read"
    skipped:
      description: How many single events were skipped. V(0) if nobody knows which events are missing.
      type: int
      returned: always
      sample: 1
unread:
  description: The hosts whose VMs could not be read.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host's name as given.
      type: str
      returned: always
      sample: esx3
    answer:
      description: How its API answered, as C(api_answer) of M(libreha.vmware.host_health_info).
      type: str
      returned: always
      sample: timed_out
    reason:
      description: What was tried, what came back and the remedy.
      type: str
      returned: always
      sample: "esx3: no answer in time connecting to 192.0.2.13 port 443 (timed out)."
io_unread:
  description: The hosts whose VMs were read, but not the statistics of those without a heartbeat. RV(vms[].io_idle) is null there.
  returned: success
  type: list
  elements: dict
  contains:
    host:
      description: The host's name as given.
      type: str
      returned: always
      sample: esx3
    reason:
      description: What was tried, what came back and the remedy.
      type: str
      returned: always
      sample: "esx3: reading the VMs' statistics: NoPermission. Remedy: give the user a role on the host that may read."
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out
from ansible_collections.libreha.vmware.plugins.module_utils.entry.vm_health_info import argument_spec, run


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
