#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ha_status_info
short_description: How the cluster stands - hosts, VMs at risk, alarms, what is under way
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Asks the resident monitor, which answers from memory. Where it does not run, the state database is read, which has what the last look
    of any run found; RV(status.service.state) is V(absent) then, and RV(status.last_look.age) says how old that is.
  - It changes nothing and asks no host. Run it on the arbiter.
  - The command C(libreha status) on the arbiter shows the same.
options:
  socket:
    description: The monitor's socket.
    type: path
    default: /run/libreha/monitor.sock
  timeout:
    description: Seconds within which the monitor must answer. If it does not, the record is shown.
    type: float
    default: 5
  max_age:
    description: A last look that ended longer ago, in seconds, makes RV(health) critical.
    type: float
    default: 30
extends_documentation_fragment:
  - libreha.vmware.info
  - libreha.vmware.state
seealso:
  - module: libreha.vmware.ha_state_info
  - module: libreha.vmware.ha_command
"""

EXAMPLES = r"""
- name: How does the cluster stand
  libreha.vmware.ha_status_info:
  register: cluster

- name: Go on only while nothing is at risk
  ansible.builtin.assert:
    that: cluster.health == 'ok'
    fail_msg: "{{ cluster.findings }}"
"""

RETURN = r"""
health:
  description: V(ok), V(warning) or V(critical), as C(libreha check) judges.
  returned: always
  type: str
  sample: ok
findings:
  description: What is wrong, in sentences, the worst first.
  returned: always
  type: list
  elements: str
text:
  description: The whole status for people, line by line.
  returned: always
  type: list
  elements: str
  sample: ["libreha: looking, mode act, last look 0.8 s ago, settled, up 3 h 12 min, lease token 17"]
status:
  description: The whole status for programs.
  returned: always
  type: dict
  contains:
    version: {description: Of this form., returned: always, type: int, sample: 1}
    at: {description: "When it was asked, with C(boot_id), C(seconds) and C(wall).", returned: always, type: dict}
    service:
      description: The monitor itself.
      returned: always
      type: dict
      contains:
        state:
          description: V(looking), V(standby) (another run holds the lease), V(starting), V(stopping), or V(absent) (it did not answer).
          returned: always
          type: str
          sample: looking
        problem: {description: What keeps it from its work; empty if nothing does., returned: always, type: str}
        holder: {description: "Who holds the lease, as far as is known.", returned: always, type: str}
        token: {description: The token of the lease; null without one., returned: always, type: int}
        started_at: {description: When the service started., returned: always, type: dict}
        up_for: {description: Seconds since then., returned: always, type: float}
    last_look:
      description: The last look that was judged; null before the first.
      returned: always
      type: dict
      contains:
        taken_at: {description: When it began., returned: always, type: dict}
        age: {description: Seconds since it ended; null if the machine restarted since., returned: always, type: float, sample: 0.8}
    mode: {description: "V(observe), V(ask) or V(act); empty if it is not known.", returned: always, type: str, sample: act}
    disarmed: {description: "Who disarmed the cluster, and why; empty if it is armed.", returned: always, type: str}
    settled: {description: Whether nothing is being judged and nothing is to be done., returned: always, type: bool}
    hosts:
      description: What is held true of each host.
      returned: always
      type: list
      elements: dict
      contains:
        name: {description: The host., returned: always, type: str, sample: esx1}
        verdict: {description: "The verdict, see docs/safety.md.", returned: always, type: str, sample: healthy}
        confirmed: {description: "Whether it is acted on, or only suspected.", returned: always, type: bool}
        why: {description: The evidence in words., returned: always, type: str}
        since: {description: Since when the verdict has been the same., returned: always, type: dict}
        lasts: {description: Seconds since then., returned: always, type: float}
        api: {description: "V(ok), V(failed) or V(unknown).", returned: always, type: str}
        ping: {description: "V(ok), V(failed) or V(unknown).", returned: always, type: str}
        power: {description: "As its BMC says: V(on), V(off) or V(unknown).", returned: always, type: str}
        storage: {description: "For each target, its name and V(ok), V(failed) or V(unknown).", returned: always, type: list, elements: str}
        fenceable: {description: Whether a fence of it would mean something., returned: always, type: bool}
        maintenance: {description: Whether it is in maintenance mode., returned: always, type: bool}
        running: {description: How many VMs are recorded as running there., returned: always, type: int}
    vms_known: {description: How many VMs there are., returned: always, type: int}
    vms_running: {description: How many run., returned: always, type: int}
    vms_down: {description: How many should run and do not., returned: always, type: int}
    vms_at_risk:
      description: How many are down, are on a host that does not work, or would not survive the loss of one.
      returned: always
      type: int
    at_risk:
      description: Those VMs, at most 200 of them, those that are down first.
      returned: always
      type: list
      elements: dict
      contains:
        id: {description: "The VM's identity, its datastore's UUID and the path of its vmx file.", returned: always, type: str}
        name: {description: Its name., returned: always, type: str}
        host: {description: Where it is recorded., returned: always, type: str}
        down: {description: Whether it should run and does not., returned: always, type: bool}
        reasons: {description: Why., returned: always, type: list, elements: str}
    alarms:
      description: The alarms that stand, the worst first.
      returned: always
      type: list
      elements: dict
      contains:
        key: {description: The same for as long as the same thing is wrong., returned: always, type: str}
        severity: {description: "V(info), V(warning) or V(critical).", returned: always, type: str}
        subject: {description: "The host, VM or storage server.", returned: always, type: str}
        text: {description: What is wrong., returned: always, type: str}
        since: {description: "Since when, where the record was read; null otherwise.", returned: always, type: dict}
    in_progress:
      description: The acts that have begun and not ended.
      returned: always
      type: list
      elements: dict
      contains:
        what: {description: In words., returned: always, type: str, sample: fence esx1}
        kind: {description: "V(fence), V(start), V(move), V(stop), V(reset) or V(rejoin).", returned: always, type: str}
        hosts: {description: The hosts that it is about., returned: always, type: list, elements: str}
        vms: {description: The names of the VMs that it is about., returned: always, type: list, elements: str}
        since: {description: "Since when, where the record was read; null otherwise.", returned: always, type: dict}
    held:
      description: What would be done but for a reason, at most 200 of them.
      returned: always
      type: list
      elements: dict
      contains:
        what: {description: "V(fence), V(failover), V(restart), V(start), V(move) or V(verdict).", returned: always, type: str}
        subject: {description: The name of the host or VM., returned: always, type: str}
        reason: {description: Why it is not done., returned: always, type: str}
    proposed: {description: "What would be done in another mode, in words.", returned: always, type: list, elements: str}
    admission: {description: "What the cluster can lose, in words; empty if it is not known.", returned: always, type: str}
    near_misses:
      description: Suspicions of the last 30 days that ended without a fence, and what they say of C(confirm_after), in words.
      returned: always
      type: list
      elements: str
      sample: ["1 near miss in 30 days; the longest silence was 9.0 of 15 s (esx1)"]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_status_info import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.state import hide_secrets
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main():
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module)
    carry_out(module, run)


if __name__ == "__main__":
    main()
