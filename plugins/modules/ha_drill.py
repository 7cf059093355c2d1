#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ha_drill
short_description: What would happen if hosts died now
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Looks at the hosts, their VMs and the storage servers as M(libreha.vmware.ha_run) does, until the storage evidence is there, then
    imagines that hosts fall silent, are fenced and stopped, and tells what would be decided then - which VM would start where and why,
    which ones find no host, which ones are not protected, what would be held (the brake, a host that cannot be fenced), how long it
    would take, and whether the cluster could lose yet another host.
  - The plan comes from the decision that M(libreha.vmware.ha_run) makes in a real failure, made on an imagined look. It holds as long as
    nothing else changes.
  - Nothing is changed and nothing is recorded. It takes no lease, so it may run beside a monitor at work.
options:
  policy:
    description:
      - The policy with the hosts and storage servers in it, as the filter P(libreha.vmware.cluster_policy#filter) makes it.
    type: dict
    required: true
  hosts_lost:
    description:
      - The hosts to be lost, all at once. Empty asks for each host in turn.
    type: list
    elements: str
    default: []
  max_looks:
    description:
      - How often to look, at most. Whether a host's storage works is told by the progress from one look to the next, so RV(judged) needs
        at least two.
    type: int
    default: 5
extends_documentation_fragment:
  - libreha.vmware.hosts
  - libreha.vmware.state
  - libreha.vmware.storage_servers
notes:
  - The memory in the state database is only read. Where there is no state database yet, a fresh memory does.
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: What if esx1 died now?
  libreha.vmware.ha_drill:
    policy: "{{ libreha_policy | libreha.vmware.cluster_policy(hostvars, groups.libreha_hosts, groups.libreha_storage) }}"
    hosts: "{{ groups.libreha_hosts | libreha.vmware.host_connections(hostvars) }}"
    storage: "{{ groups.libreha_storage | libreha.vmware.storage_servers(hostvars, inventory_hostname) }}"
    hosts_lost: [esx1]
  register: drill

- name: Show the plan
  ansible.builtin.debug:
    msg: "{{ drill.cases[0].report }}"
"""

RETURN = r"""
judged:
  description:
    - Whether every host's look is fresh, and its storage evidence there.
    - If not, O(max_looks) looks were not enough, and what depends on the storage is not known.
  returned: success
  type: bool
remembered:
  description: Whether the state database had a memory of a monitor. Without one, a VM that is off counts as stopped on purpose.
  returned: success
  type: bool
hosts:
  description: The verdict on each host now.
  returned: success
  type: list
  elements: dict
  contains:
    host: {description: Name of the host., type: str, sample: esx1}
    verdict: {description: The verdict. The table is in docs/safety.md of this collection., type: str, sample: healthy}
    row: {description: "The row of the table, 0 where the fence list told.", type: int, sample: 4}
    confirmed: {description: Whether the verdict has been confirmed., type: bool}
    text: {description: The verdict with its reasons., type: str, sample: "esx1 healthy (api answered, ping ok, storage ok)"}
    since: {description: Since when; an instant on the boot-time clock., type: dict}
    samples: {description: Consecutive fresh samples with this verdict., type: int, sample: 2}
    api: {description: Evidence of the management API., type: str, sample: ok}
    ping: {description: Evidence of the management address., type: str, sample: ok}
    power: {description: Power as the BMC tells it., type: str, sample: "on"}
    storage: {description: Evidence of each target., type: list, elements: dict}
    fenceable: {description: Whether a fence of this host means something., type: bool}
storage:
  description: The storage servers' own health, as it was when it was last read.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: Name of the storage server., type: str, sample: san1}
    health: {description: "The worst of its sensors; V(green), V(yellow), V(red) or V(unknown).", type: str, sample: yellow}
    sensors:
      description: Everything that is watched, judged; of the form of RV(libreha.vmware.storage_health_info#module:storage_health.sensors).
      type: list
      elements: dict
    read_at: {description: When it was last read. V(null) if never., type: dict}
    due: {description: Whether it should be read in the next look. Not while a host is suspect., type: bool}
    disks_due: {description: Whether the disks should be asked then., type: bool}
admission:
  description: The admission state of the whole cluster now.
  returned: success
  type: dict
  contains: &admission
    form: {description: The policy's form of admission control., type: str, sample: host_failures}
    admitted: {description: Whether the form admits the present state., type: bool}
    text: {description: Why., type: str, sample: "without esx3 there are 30 slots of 1024 MiB and 32 MHz, and 12 protected VMs need 12"}
    tolerates:
      description: Hosts that may fail, the largest first, with every protected VM placed; 0 unless each of them may fail alone.
      type: int
      sample: 1
    shortfalls:
      description: VMs that would stay down if the hosts in C(lost) were lost.
      type: list
      elements: dict
      contains:
        id: {description: The VM's id., type: str}
        name: {description: Its name., type: str, sample: web1}
        lost: {description: The hosts., type: list, elements: str}
        reason: {description: Why it would stay down., type: str}
    exact:
      description: Whether C(tolerates) and C(shortfalls) come from placing every VM. If not, C(tolerates) is counted in slots.
      type: bool
unprotected:
  description: VMs that are not failed over, on whatever host.
  returned: success
  type: list
  elements: dict
  contains: &stays_down
    id: {description: The VM's id., type: str}
    name: {description: Its name., type: str, sample: web1}
    host: {description: Where it is now., type: str, sample: esx1}
    reason: {description: Why it would not run again., type: str}
    chosen: {description: Whether the policy or an operator wants it so., type: bool}
unfenceable:
  description: Hosts whose fence would prove nothing, so that their VMs are not failed over.
  returned: success
  type: list
  elements: dict
  contains:
    host: {description: Name of the host., type: str, sample: esx1}
    reason: {description: Why., type: str}
cases:
  description: What would happen, for O(hosts_lost) or for each host in turn.
  returned: success
  type: list
  elements: dict
  contains:
    lost: {description: The hosts that are lost in this case., type: list, elements: str, sample: [esx1]}
    summary: {description: The case in one line., type: str, sample: "esx1: 2 VMs start elsewhere (esx2 1, esx3 1); about 2 to 61 s"}
    report: {description: The case in full., type: list, elements: str}
    plan:
      description: VMs that would be registered elsewhere, in start order, those that are only registered last.
      type: list
      elements: dict
      contains:
        id: {description: The VM's id., type: str}
        name: {description: Its name., type: str, sample: web1}
        path: {description: Path of its .vmx inside the datastore., type: str, sample: web1/web1.vmx}
        datastore_uuid: {description: The datastore of its .vmx., type: str}
        datastore: {description: That datastore's name at the destination., type: str, sample: shared}
        vmx: {description: The .vmx as the destination would register it., type: str, sample: "[shared] web1/web1.vmx"}
        source: {description: The lost host., type: str, sample: esx1}
        destination: {description: Where it would start., type: str, sample: esx2}
        power_on: {description: Whether it would be started; otherwise it is only registered., type: bool}
        memory: {description: Its memory in MiB., type: int, sample: 1024}
        cpu: {description: Its virtual CPUs., type: int, sample: 2}
        priority: {description: Its restart priority., type: str, sample: medium}
        reasons: {description: "Why there, and why not elsewhere.", type: list, elements: str}
    unplaced:
      description: VMs that run now and would fit nowhere.
      type: list
      elements: dict
      contains:
        id: {description: The VM's id., type: str}
        name: {description: Its name., type: str, sample: web1}
        reasons:
          description: Each host's reason.
          type: list
          elements: dict
          contains:
            host: {description: Name of the host., type: str, sample: esx2}
            reason: {description: Why it does not take the VM., type: str, sample: 512 MiB memory too little}
    unprotected: {description: VMs of the lost hosts that are not failed over., type: list, elements: dict, contains: *stays_down}
    stays_down:
      description: Protected VMs of the lost hosts for which no start would be planned.
      type: list
      elements: dict
      contains: *stays_down
    held:
      description: What would stand between the failure and the fence. The plan is what follows once that is released or repaired.
      type: list
      elements: dict
      contains:
        what: {description: What is held., type: str, sample: fence}
        subject: {description: The host., type: str, sample: esx1}
        reason: {description: Why., type: str}
    warnings: {description: "What goes with the plan, such as a possible network duplicate.", type: list, elements: str}
    admission_before: {description: As RV(admission)., type: dict, contains: *admission}
    admission_after: {description: "As RV(admission), when the plan has been carried out.", type: dict, contains: *admission}
    time:
      description: From the failure until the last VM of the plan runs.
      type: dict
      contains:
        least: {description: Seconds if every step takes its shortest., type: float, sample: 2.0}
        most: {description: Seconds if every step takes its longest without failing., type: float, sample: 61.0}
        parts:
          description: The steps.
          type: list
          elements: dict
          contains:
            what: {description: The step., type: str, sample: the verdict is confirmed}
            least: {description: Seconds., type: float, sample: 15.0}
            most: {description: Seconds., type: float, sample: 18.0}
            source: {description: Where the figures come from., type: str, sample: confirm_after}
near_misses:
  description: Suspicions of the last 30 days that ended without a fence, and what they say of C(confirm_after), in words.
  returned: success
  type: list
  elements: str
  sample: ["1 near miss in 30 days; the longest silence was 9.0 of 15 s (esx1)"]
standing:
  description: How the cluster stands now, in words; RV(near_misses) among it.
  returned: success
  type: list
  elements: str
summary:
  description: One line for each case.
  returned: success
  type: list
  elements: str
known_hosts:
  description: The hosts that O(hosts_lost) may name.
  returned: when O(hosts_lost) names a host that is not known
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_drill import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.state import hide_secrets
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module)
    carry_out(module, run)


if __name__ == "__main__":
    main()
