#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: host_health_info
short_description: Look at the health of many hosts at once
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Asks the API, the management address and the BMC of every host, all at the same time, and the observer's isolation addresses.
  - A host that does not answer is a result, with the way in which it did not answer, and not a failed task.
    The task fails when what was asked for makes no sense, such as a host that is listed twice or a CA file that is not there.
  - A login, a certificate or a licence that the host or we refused is a different answer from a refused connection, from silence,
    and from a refused TLS handshake. Only the former prove a living host with an operator's error.
  - This is how M(libreha.vmware.ha_run) and M(libreha.vmware.ha_drill) see the hosts. Nothing is changed.
options:
  isolation_addresses:
    description:
      - Addresses that answer as long as the machine that observes is not isolated itself, such as the gateway.
      - They are asked by TCP, ICMP and ARP; a refusal is an answer too.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - libreha.vmware.info
  - libreha.vmware.hosts
requirements:
  - icmplib >= 3.0 (optional; without it no ICMP echo is sent)
notes:
  - ICMP and ARP need root or CAP_NET_RAW; ICMP also works where C(net.ipv4.ping_group_range) allows it.
    A layer that could not be tried is named in RV(hosts[].ping_reason) and never counted as silence.
seealso:
  - module: libreha.vmware.vm_health_info
  - module: libreha.vmware.ha_run
"""

EXAMPLES = r"""
- name: Look at all hosts
  libreha.vmware.host_health_info:
    username: root
    password: "{{ vault_esxi_password }}"
    ca_path: /etc/libreha/ca.pem
    hosts:
      - name: esx1
        hostname: 192.0.2.11
        bmc:
          - address: https://192.0.2.111
            username: ha
            password: "{{ vault_bmc_password }}"
      - name: esx2
        hostname: 192.0.2.12
    isolation_addresses:
      - 192.0.2.1
  register: look

- name: Name the hosts that do not answer
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.api_answer }} - {{ item.api_reason }}"
  loop: "{{ look.hosts | rejectattr('api_answer', 'equalto', 'answered') }}"
  loop_control:
    label: "{{ item.name }}"

- name: Give the connection once for all modules of the collection
  hosts: localhost
  gather_facts: false
  module_defaults:
    group/libreha.vmware.all:
      username: root
      password: "{{ vault_esxi_password }}"
      ca_path: /etc/libreha/ca.pem
  tasks:
    - name: Look at one host
      libreha.vmware.host_health_info:
        hostname: esx1.example.com
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
hosts:
  description:
    - One entry for each host, in the order of the option.
    - What lies below RV(hosts[].behind_bmc) is null or empty unless RV(hosts[].api_answer) is V(answered).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The host's name as given.
      type: str
      returned: success
      sample: esx1
    taken_at:
      description: As RV(taken_at).
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
    api_answer:
      description:
        - How the host's API answered.
        - V(answered) - logged in and read; V(login_refused), V(certificate_refused), V(licence_refused) - a living host and an
          operator's error; V(refused) - TCP connection refused; V(timed_out) - no answer in time; V(tls_refused) - TCP answers, TLS
          does not come about; V(unreachable) - nobody answers at that address (no ARP reply, or a router says so); V(broken) -
          something else answers than this API.
        - Where this machine itself could not ask, nothing is concluded about the host. V(name_not_resolved) - its name service does not
          answer, is slow, or does not know the name; V(no_route) - its own routes, addresses or firewall let nothing through;
          V(not_asked) - a proxy, no file descriptor left, too busy to wait for the answer, or an answer that it could not make
          sense of; RV(hosts[].api_reason) says which.
      type: str
      returned: success
      sample: answered
    api_reason:
      description: What was tried, what came back and the remedy; empty when the API answered.
      type: str
      returned: success
      sample: "esx2: TCP connection refused connecting to 192.0.2.12 port 443 (Connection refused)."
    ping:
      description: Whether the management address answers on any layer - V(ok), V(failed), or V(unknown) when nothing could be tried.
      type: str
      returned: success
      sample: ok
    ping_reason:
      description: Which layer answered, or what each of them came to.
      type: str
      returned: success
      sample: TCP port 443 connected
    power:
      description:
        - The host's power state by its power devices, each from two equal reads - V(on), V(off) or V(unknown).
        - V(unknown) too where they contradict each other. An outlet that is on says nothing about a host that has a BMC.
      type: str
      returned: success
      sample: "on"
    power_reason:
      description:
        - Where RV(hosts[].power) comes from, or why it is unknown.
        - C(identity unproven) where a device does not tell which machine it belongs to. Only the playbook C(fence_test) proves that.
      type: str
      returned: success
      sample: no BMC is configured
    has_bmc:
      description: Whether a BMC is given for the host.
      type: bool
      returned: success
      sample: false
    proves_no_off:
      description: Why none of the power devices can prove that the host is off. Empty where one can, and where there is none.
      type: str
      returned: success
      sample: ""
    behind_bmc:
      description: The machines that the power devices say they belong to. Those that tell none, such as fence agents, are left out.
      type: list
      elements: dict
      returned: success
      contains:
        uuid:
          description: The UUID.
          type: str
          returned: success
          sample: 44454c4c-5100-1033-8057-b7c04f4a3332
        serial:
          description: The serial number.
          type: str
          returned: success
          sample: 5Q3W2J2
    machine:
      description:
        - The host's own machine as it tells it. M(libreha.vmware.ha_run) compares both, and takes a host with another machine's BMC
          for one without power fencing.
      type: dict
      returned: success
      contains:
        uuid:
          description: SMBIOS' system UUID.
          type: str
          returned: success
          sample: 4c4c4544-0051-3310-8057-b7c04f4a3332
        serial:
          description: The serial number.
          type: str
          returned: success
          sample: 5Q3W2J2
    product:
      description: The host's product name.
      type: str
      returned: success
      sample: VMware ESXi
    version:
      description: The product's version.
      type: str
      returned: success
      sample: 8.0.3
    build:
      description: The product's build.
      type: str
      returned: success
      sample: "24022510"
    boot_time:
      description: When the host booted, ISO 8601, by the host's own clock.
      type: str
      returned: success
      sample: "2026-11-23T08:00:00+00:00"
    uptime:
      description: Seconds since the host booted.
      type: float
      returned: success
      sample: 43815.0
    maintenance:
      description: Whether the host is in maintenance mode.
      type: bool
      returned: success
      sample: false
    cpu_cores:
      description: Physical cores.
      type: int
      returned: success
      sample: 16
    cpu_total:
      description: All cores together, in MHz.
      type: int
      returned: success
      sample: 38400
    cpu_free:
      description: RV(hosts[].cpu_total) less what is used now, in MHz.
      type: int
      returned: success
      sample: 31200
    memory_total:
      description: Physical memory in MiB.
      type: int
      returned: success
      sample: 65536
    memory_free:
      description: RV(hosts[].memory_total) less what is used now, in MiB.
      type: int
      returned: success
      sample: 40960
    sensors:
      description: Hardware sensors and the state of memory, CPU and storage hardware.
      type: list
      elements: dict
      returned: success
      contains:
        name:
          description: The sensor's name.
          type: str
          returned: success
          sample: System Board 1 Fan 3
        health:
          description: V(green), V(yellow), V(red) or V(unknown).
          type: str
          returned: success
          sample: green
        reading:
          description: Value and unit; empty for a sensor without a value.
          type: str
          returned: success
          sample: 3480 RPM
    datastores:
      description: The host's datastores, by name.
      type: list
      elements: dict
      returned: success
      contains:
        name:
          description: The datastore's name on this host.
          type: str
          returned: success
          sample: shared
        uuid:
          description: The volume's UUID, the same on every host.
          type: str
          returned: success
          sample: 65a1b2c3-d4e5f607-1829-3a4b5c6d7e8f
        type:
          description: The kind of file system.
          type: str
          returned: success
          sample: VMFS
        accessible:
          description: Whether this host can reach it now.
          type: bool
          returned: success
          sample: true
        maintenance:
          description: Whether the datastore is in maintenance mode, or on its way.
          type: bool
          returned: success
          sample: false
        capacity:
          description: Bytes.
          type: int
          returned: success
          sample: 1099511627776
        free:
          description: Bytes; 0 while it is not accessible.
          type: int
          returned: success
          sample: 549755813888
        local:
          description: Whether a part of it is not on iSCSI.
          type: bool
          returned: success
          sample: false
        luns:
          description: The iSCSI LUNs below all of its extents.
          type: list
          elements: dict
          returned: success
          contains:
            target:
              description: IQN of the target.
              type: str
              returned: success
              sample: iqn.2026-01.org.example:shared
            lun:
              description: Number of the LUN at that target.
              type: int
              returned: success
              sample: 1
    networks:
      description: Names of the networks (port groups) that a VM can be connected to.
      type: list
      elements: str
      returned: success
      sample: [VM Network]
    capabilities:
      description:
        - What some VMs need of a host and it has - V(vgpu:PROFILE), V(key:ID) of an encryption key, V(cpu:nested_virtualization),
          V(cpu:performance_counters).
      type: list
      elements: str
      returned: success
      sample: ["cpu:nested_virtualization", "vgpu:grid_p40-2q"]
    initiators:
      description: IQNs of the host's iSCSI adapters.
      type: list
      elements: str
      returned: success
      sample: ["iqn.1998-01.com.vmware:esx1"]
isolation:
  description: What the isolation addresses answered, in the order of the option.
  returned: success
  type: list
  elements: dict
  contains:
    address:
      description: The address as given.
      type: str
      returned: success
      sample: 192.0.2.1
    answers:
      description: Whether it answered on any layer.
      type: bool
      returned: success
      sample: true
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.host_health_info import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
