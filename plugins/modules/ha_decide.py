#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ha_decide
short_description: Decide from a look at the cluster what is wrong and what to do, and record it
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Takes what C(host_health_info), C(vm_health_info) and C(iscsi_session_info) saw, the policy, and what the state database remembers,
    and decides which hosts are healthy, dead, isolated or unknown, what to fence, and which VM to start where.
  - It changes no host. The memory, the verdicts, the alarms and the reasons are recorded in the state database under the lease of the run.
  - Nothing is planned to start in the look that orders a fence. Only when a later look finds the fence confirmed on every storage server,
    the VMs of the fenced host are planned elsewhere; so call this module again after each fence until RV(settled) is true.
options:
  host:
    description:
      - Act on the loss of this host only. Verdicts and alarms cover all hosts as always, and a fence that stands is completed whatever
        its host.
    type: str
  carries_out:
    description:
      - The kinds of action that the caller can carry out. Others are returned in RV(proposed), with an alarm that says how a person
        does it.
    type: list
    elements: str
    choices: [fence, failover, restart, move, stop, reset, rejoin]
    default: [fence, failover, restart]
  holder:
    description: The run that holds the lease. Required unless O(validate_only=true) or in check mode.
    type: str
  token:
    description: The token of its lease. Required unless O(validate_only=true) or in check mode. The lease is renewed.
    type: int
  validate_only:
    description: Only check O(policy); nothing is decided, and no database is needed.
    type: bool
    default: false
extends_documentation_fragment:
  - libreha.vmware.look
  - libreha.vmware.state
attributes:
  check_mode:
    description: Decides the same, and records nothing.
    support: full
  diff_mode:
    description: There is nothing to show; the module changes its own records only.
    support: none
"""

EXAMPLES = r"""
- name: Check the policy
  libreha.vmware.ha_decide:
    policy: "{{ libreha_policy | libreha.vmware.cluster_policy(hostvars, groups.libreha_hosts, groups.libreha_storage) }}"
    validate_only: true

- name: Decide
  libreha.vmware.ha_decide:
    policy: "{{ libreha_policy | libreha.vmware.cluster_policy(hostvars, groups.libreha_hosts, groups.libreha_storage) }}"
    observation:
      taken_at: "{{ hosts_look.taken_at }}"
      hosts: "{{ hosts_look.hosts }}"
      isolation: "{{ hosts_look.isolation }}"
      vms: "{{ vms_look.vms }}"
      vms_read: "{{ vms_look.vms_read }}"
      events: "{{ vms_look.events }}"
      storage: ["{{ sessions.storage }}"]
    holder: "{{ holder }}"
    token: "{{ lease.token }}"
  register: decision
"""

RETURN = r"""
mode:
  description: The policy's mode, V(observe), V(ask) or V(act). This module acts in none of them.
  returned: success
  type: str
  sample: observe
hosts:
  description: The verdict on each host.
  returned: when something was decided
  type: list
  elements: dict
  contains:
    host: {description: Name of the host., type: str, sample: esx1}
    verdict: {description: The verdict. The table is in docs/safety.md of this collection., type: str, sample: dead}
    row: {description: "The row of the table, 0 where the fence list told.", type: int, sample: 9}
    confirmed: {description: Whether it lasted long enough to act on., type: bool}
    text: {description: Verdict and evidence in words., type: str, sample: "esx1 dead since 12:00:15 (api timed out, 4 samples)"}
    reason: {description: Why; the same for as long as it is judged so., type: str, sample: storage failed and nothing answers}
    since: {description: Since when; an instant on the boot-time clock., type: dict}
    samples: {description: Consecutive fresh samples with this verdict., type: int, sample: 4}
    api: {description: Evidence of the management API., type: str, sample: failed}
    ping: {description: Evidence of the management address., type: str, sample: failed}
    power: {description: Power as the BMC tells it., type: str, sample: "on"}
    storage: {description: Evidence of each target., type: list, elements: dict}
    fenceable: {description: Whether a fence of this host means something., type: bool}
alarms:
  description: What a person should know, new or old.
  returned: when something was decided
  type: list
  elements: dict
  contains:
    key: {description: The same for as long as the same thing is wrong., type: str, sample: "fenced:esx1"}
    severity: {description: "V(info), V(warning) or V(critical).", type: str, sample: warning}
    subject: {description: What it is about., type: str, sample: esx1}
    text: {description: What is wrong and what to do., type: str}
held:
  description: What would be done but for a reason.
  returned: when something was decided
  type: list
  elements: dict
  contains:
    what: {description: What is held., type: str, sample: fence}
    subject: {description: The name of the host or the id of the VM., type: str, sample: esx1}
    reason: {description: Why., type: str}
actions:
  description: What to do now, in order - fence, failover and restart, each with its reasons.
  returned: when something was decided
  type: list
  elements: dict
proposed:
  description:
    - What would be done but waits for a person (RV(mode)), for the cluster to be armed, or is out of the caller's reach
      (O(carries_out), O(host)).
    - Of the same form as RV(actions), with C(why_not) in addition.
  returned: when something was decided
  type: list
  elements: dict
down:
  description: VMs that should run and are known to be down, in every mode.
  returned: when something was decided
  type: list
  elements: dict
  contains:
    id: {description: The VM., type: str, sample: "5f3b:web1/web1.vmx"}
    name: {description: Its name., type: str, sample: web1}
    host: {description: Where it is recorded., type: str, sample: esx1}
    reason: {description: What is done about it or why nothing is., type: str}
admission:
  description: Whether the cluster can still lose what its policy wants it to be able to lose.
  returned: when something was decided
  type: dict
  contains:
    form: {description: The policy's form of admission control., type: str, sample: host_failures}
    admitted: {description: Whether the form admits the present state., type: bool}
    text: {description: Why., type: str, sample: "without esx3 there are 30 slots of 1024 MiB and 32 MHz, and 12 protected VMs need 12"}
    tolerates: {description: Hosts that may fail with every protected VM placed., type: int, sample: 1}
    shortfalls: {description: "VMs that would stay down, with the hosts C(lost) and the C(reason).", type: list, elements: dict}
    exact: {description: "Whether C(tolerates) and C(shortfalls) come from placing every VM, or are counted in slots.", type: bool}
storage:
  description: The storage servers' own health, as it was when it was last read.
  returned: when something was decided
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
plan:
  description: The VMs of all failover and restart actions, in order, as they are to be started.
  returned: when something was decided
  type: list
  elements: dict
live_hosts:
  description: Hosts whose API answered and that are not fenced.
  returned: when something was decided
  type: list
  elements: str
  sample: [esx2, esx3]
journal_seq:
  description: Number of the newest journal entry after this look. Steps of what is done next have higher ones.
  returned: when something was decided
  type: int
  sample: 4711
open_transactions:
  description: Failover transactions that an earlier run left open.
  returned: when something was decided
  type: int
  sample: 0
disarmed:
  description: Who disarmed the cluster, and why. Empty when it is armed. Open transactions are not to be completed while it is disarmed.
  returned: when something was decided
  type: str
  sample: "alice: the switch is replaced"
events_seen:
  description: The highest event key dealt with, for each host; the C(events_after) of the next look.
  returned: when something was decided
  type: dict
  sample: {esx2: 41}
settled:
  description: Whether another look would change nothing by itself.
  returned: when something was decided
  type: bool
next_sample_in:
  description: Seconds to wait before the next look.
  returned: when something was decided
  type: float
  sample: 3.0
taken_at:
  description: When it was decided.
  returned: when something was decided
  type: dict
report:
  description: What is new in this look, in words.
  returned: when something was decided
  type: list
  elements: str
summary:
  description: How it stands, in words.
  returned: when something was decided
  type: list
  elements: str
undone:
  description:
    - What should be and is not, in words. These are fences to complete, and every VM of RV(down), whatever the mode and whoever could
      start it.
  returned: when something was decided
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_decide import run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.look import look_spec
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.state import hide_secrets, state_spec
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def argument_spec():
    return {
        **look_spec(),
        "host": {"type": "str"},
        "carries_out": {
            "type": "list",
            "elements": "str",
            "choices": ["fence", "failover", "restart", "move", "stop", "reset", "rejoin"],
            "default": ["fence", "failover", "restart"],
        },
        "holder": {"type": "str"},
        "token": {"type": "int", "no_log": False},
        "validate_only": {"type": "bool", "default": False},
        **state_spec(),
    }


def main():
    module = AnsibleModule(argument_spec=argument_spec(), required_if=[("validate_only", False, ["observation"])], supports_check_mode=True)
    hide_secrets(module)
    if not module.check_mode and not module.params["validate_only"] and (not module.params["holder"] or module.params["token"] is None):
        module.fail_json(msg="holder and token are missing. Remedy: take a lease with ha_state state=leased and pass its holder and token")
    carry_out(module, run)


if __name__ == "__main__":
    main()
