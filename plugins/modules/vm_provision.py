#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_provision
short_description: Create the VMs of a list on standalone hosts, power them on, and wait for them
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Brings the VMs that are described into being, each in a folder of its own name on its datastore. It is for the first day, and no tool
    for the life of a VM.
  - VMs of a cluster move between its hosts, so a VM is looked for on all O(hosts), and on its datastore. One that is there is not
    created again, whichever host has it, and a host that does not answer stops the run before anything is changed. List all hosts of
    the cluster.
  - What a VM lacks that is there already (disks, network cards, CPU, memory) is added while it is off, as after a run that was
    interrupted. While it is on, this is not done, and named in RV(vms[].differences). Nothing is ever taken from a VM, and nothing in
    its folder is overwritten.
  - It talks to the hosts themselves, not to a vCenter.
options:
  vms:
    description:
      - The VMs.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the VM and of its folder. No two VMs of the cluster have the same.
        type: str
        required: true
      datastore:
        description: The datastore that it lies on.
        type: str
        required: true
      host:
        description:
          - Where it is created. It stays where it is when it is there already.
          - The default is the host with the most memory left that has the datastore and the networks.
        type: str
      state:
        description: V(present) creates it, and leaves it off or on as it is.
        type: str
        choices: [powered_on, present]
        default: powered_on
      cpu:
        description: Virtual CPUs.
        type: int
        default: 1
      memory:
        description: In MiB.
        type: int
        default: 1024
      guest_id:
        description: The guest operating system as the vSphere API names it (C(VirtualMachineGuestOsIdentifier)). Taken at creation.
        type: str
        default: otherLinux64Guest
      firmware:
        description: Taken at creation.
        type: str
        choices: [bios, efi]
        default: efi
      disks:
        description: In their order on the first SCSI controller, thin.
        type: list
        elements: dict
        default: []
        suboptions:
          size:
            description: In GiB. Required without O(vms[].disks[].image). With it, the copy is made that large.
            type: int
          image:
            description: Path of a disk that it becomes a copy of, such as V([ds1] images/debian-12.vmdk).
            type: str
      networks:
        description: Port groups, with one card to each (vmxnet3). Each once.
        type: list
        elements: str
        default: []
      iso:
        description: Path of an image for its CD drive, such as V([ds1] iso/debian-12.iso). Taken at creation.
        type: str
      annotation:
        description: A note that people read. Taken at creation.
        type: str
      options:
        description:
          - Further options of the .vmx, such as V(guestinfo.userdata) for cloud-init. Taken at creation.
          - Whoever may read the VM's configuration sees them. Where they hold a secret, give the task C(no_log).
        type: dict
        default: {}
  wait_for:
    description:
      - How far VMs that shall be on must be. V(tools) means that VMware Tools run, V(address) that they tell an address that other
        machines can reach.
    type: str
    choices: [power, tools, address]
    default: power
  wait_timeout:
    description: Seconds to wait for that.
    type: float
    default: 300.0
  copy_timeout:
    description: Seconds that copying one image may take.
    type: float
    default: 1800.0
  power_on_timeout:
    description: Seconds that powering on one VM may take.
    type: float
    default: 60.0
extends_documentation_fragment:
  - libreha.vmware.hosts
attributes:
  check_mode:
    description: Tells what would be done for each VM.
    support: full
  diff_mode:
    description: Shows each VM as it is, and what is added.
    support: full
seealso:
  - module: community.vmware.vmware_guest
  - module: community.vmware.vmware_deploy_ovf
"""

EXAMPLES = r"""
- name: Two VMs of an image with cloud-init, and one that is to be installed from a CD
  libreha.vmware.vm_provision:
    hosts: "{{ groups.libreha_hosts | libreha.vmware.host_connections(hostvars) }}"
    wait_for: address
    vms:
      - name: web1
        datastore: ds1
        cpu: 2
        memory: 2048
        guest_id: debian12_64Guest
        disks:
          - {image: "[ds1] images/debian-12.vmdk", size: 20}
          - {size: 100}
        networks: [VM Network]
        options:
          guestinfo.userdata.encoding: base64
          guestinfo.userdata: "{{ lookup('ansible.builtin.file', 'web1.yml') | b64encode }}"
      - name: installer
        datastore: ds1
        host: esx2
        state: present
        disks: [{size: 20}]
        networks: [VM Network]
        iso: "[ds1] iso/debian-12.iso"
"""

RETURN = r"""
vms:
  description: Each VM, in the order of the option.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The VM's name.
      type: str
    host:
      description: The host that has it.
      type: str
    created:
      description: Whether this run created it.
      type: bool
    steps:
      description: What was done, in order. In check mode, what would be done.
      type: list
      elements: str
      sample: ["create it on esx1 with 2 CPU, 2048 MiB, VM Network", "add a disk, a blank one of 20 GiB", "power it on"]
    differences:
      description: What is described and was not done, and why.
      type: list
      elements: str
      sample: []
    addresses:
      description: The addresses that VMware Tools tell, where VMs were waited for.
      type: list
      elements: str
      sample: ["192.0.2.51"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out
from ansible_collections.libreha.vmware.plugins.module_utils.entry.vm_provision import argument_spec, run


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
