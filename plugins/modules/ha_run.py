#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ha_run
short_description: Watch the hosts, decide, fence and fail over, until nothing is left to do
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - One run of the monitor on the arbiter. It takes the lease of the cluster, then observes the hosts, their VMs and the storage servers,
    judges what it sees, records the decision with its reasons in the state database, and carries out what was decided. It looks again and
    again until the decision is settled and no act is under way; then it frees the lease.
  - Looks go on while acts are under way, so a second host that dies during a failover is judged and fenced at once.
  - With C(mode=observe) in the policy it decides and records, and changes no host.
  - Each act is a process of its own, which the kernel ends with the lease. A run that was killed at any point is completed by the next one.
  - Each thing that happens is shown in a line while it happens.
  - It fails, with all of its result, when at its end something that should be done is not, or an alarm stands that the policy's
    C(fail_on_alarm) counts; by default a critical one. A run that was made for planned work (V(migrate), V(maintenance_on),
    V(maintenance_off), V(failback), V(rejoin), V(confirmed_restart), V(remove_host), V(failover) or V(shutdown) in O(commands)) fails
    by its outcome, and by such alarms about the hosts and VMs that it asked about.
  - While another run holds the lease, such as the resident monitor, that one carries out what O(commands) ask for. This one shows what
    happens, waits for the outcome, and takes the lease if it becomes free.
  - The run goes on if the playbook is interrupted, and ends by itself; what it does is in the journal. Until then it holds the lease.
options:
  policy:
    description:
      - The policy with the hosts and storage servers in it, as the filter P(libreha.vmware.cluster_policy#filter) makes it.
    type: dict
    required: true
  host:
    description:
      - Act on the loss of this host only. Verdicts and alarms cover all hosts as always, and a fence that stands is completed whatever
        its host.
    type: str
  holder:
    description: What the lease's holder is called in the journal. It must be another one for each run. By default it is made up.
    type: str
  wait:
    description:
      - Seconds to wait while another run holds the lease; with O(commands), for their outcome.
      - Without them the module fails then, and names the holder in RV(lease_holder). With them it fails and says how each stands; one that
        no run took up by then is withdrawn, and one that was taken up remains wanted.
    type: float
    default: 0
  max_looks:
    description: The run ends after so many looks in which no VM was being started, settled or not.
    type: int
    default: 60
  all_or_none:
    description:
      - Look before anything is asked for. If one of O(commands) would be refused or come to nothing, or a VM would stay on a host that is
        to be emptied (V(maintenance_on)), nothing is begun and the module fails with all that speaks against it.
    type: bool
    default: false
  chap_secrets:
    description:
      - By host, a new CHAP secret for one that logs in with CHAP and is let in again (V(rejoin) in O(commands)). Its storage servers take
        no secret that it had before its fence. Set the same on the host and in the inventory.
      - While the resident monitor holds the lease, they are handed to it over O(socket), and it has them in its memory only.
    type: dict
    default: {}
  socket:
    description: The resident monitor's socket.
    type: path
    default: /run/libreha/monitor.sock
  progress:
    description: A file to which each thing that happens is appended as a line. The action plugin of this module gives it and shows it.
    type: path
extends_documentation_fragment:
  - libreha.vmware.commands
  - libreha.vmware.hosts
  - libreha.vmware.state
  - libreha.vmware.storage_servers
attributes:
  check_mode:
    description: Looks, decides, and records and changes nothing; no lease is taken. So few looks confirm no verdict that takes time.
    support: full
  diff_mode:
    description: There is nothing to show; what is done is told in the lines of progress and in the journal.
    support: none
"""

EXAMPLES = r"""
- name: Watch the hosts, and act on what is wrong
  libreha.vmware.ha_run:
    policy: "{{ libreha_policy | libreha.vmware.cluster_policy(hostvars, groups.libreha_hosts, groups.libreha_storage) }}"
    hosts: "{{ groups.libreha_hosts | libreha.vmware.host_connections(hostvars) }}"
    storage: "{{ groups.libreha_storage | libreha.vmware.storage_servers(hostvars, inventory_hostname) }}"
"""

RETURN = r"""
looks:
  description: How many looks this run took.
  returned: when this run looked
  type: int
  sample: 7
vms:
  description: The VMs that this run started, or tried to, each with how that ended.
  returned: when this run looked
  type: list
  elements: dict
  contains:
    id: {description: Datastore UUID and vmx path., type: str, sample: "5f3b:web1/web1.vmx"}
    name: {description: Its name., type: str, sample: web1}
    source: {description: The host that it ran on., type: str, sample: esx1}
    destination: {description: The host that it was started on., type: str, sample: esx2}
    step: {description: The last complete step; V(verified) is a VM that was seen running., type: str, sample: verified}
    reason: {description: Why it ended so., type: str}
    history: {description: "What was done, in words.", type: list, elements: str}
commands:
  description:
    - What O(commands) asked for, with what became of each. One that is not done is named in RV(failing) too.
    - In check mode what would become of each, without what only the record gives (number, token, valid_for, given_at). One that would be
      refused, or come to nothing, is named in RV(failing).
  returned: when this run looked, or waited for another one
  type: list
  elements: dict
  contains:
    number: {description: Its number., type: int, sample: 12}
    kind: {description: What is asked for., type: str, sample: approve}
    subject: {description: The VM or host that it is about., type: str, sample: esx1}
    to: {description: Where to move the VM., type: str}
    by: {description: Who asks for it., type: str, sample: Ada}
    reason: {description: Why., type: str}
    state: {description: "V(applied) or V(refused).", type: str, sample: applied}
    outcome: {description: "What it changed, or why it was refused.", type: str}
    token: {description: The token of the run that took it up., type: int, sample: 17}
    holds: {description: Seconds for which something is switched off; 0 where nothing is., type: float, sample: 0}
    way: {description: The way that a migration named; empty where none did., type: str, sample: ""}
    valid_for: {description: Seconds in which a run must take it up., type: float, sample: 600}
    given_at: {description: "When it was given, with C(boot_id), C(seconds) and C(wall).", type: dict}
    progress: {description: "V(done), V(failed) or V(open).", type: str, sample: done}
    stands: {description: "How it stands, in words.", type: str, sample: mail is on esx2 (moved by suspend)}
    left_behind: {description: "With V(maintenance_on), why VMs stay on the host.", type: list, elements: str, sample: []}
    host: {description: "With V(migrate), where the VM is now.", type: str, sample: esx2}
    moved_by: {description: "With V(migrate), how the VM went there since; empty when it did not.", type: str, sample: suspend}
carried_out_by:
  description: The run that carried out O(commands) while it held the lease. Empty when this one did.
  returned: when this run looked, or waited for another one
  type: str
  sample: monitor san1 0a5dd4c4-6f43-4f5c-a9a8-5ac9ed8f4a8e
failed_acts:
  description: What acts of this run left undone, in words. The next look finds what is missing and orders it again.
  returned: when this run looked
  type: list
  elements: str
unregistered:
  description:
    - The .vmx files on the datastores concerned that no host has registered. They may be VMs that no look ever saw; a person decides.
  returned: when this run looked
  type: list
  elements: str
  sample: ["[shared] forgotten/forgotten.vmx"]
mode:
  description: The policy's mode, V(observe), V(ask) or V(act).
  returned: when this run looked
  type: str
  sample: observe
hosts:
  description: The verdict on each host.
  returned: when this run looked
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
  returned: when this run looked
  type: list
  elements: dict
  contains:
    key: {description: The same for as long as the same thing is wrong., type: str, sample: "fenced:esx1"}
    severity: {description: "V(info), V(warning) or V(critical).", type: str, sample: warning}
    subject: {description: What it is about., type: str, sample: esx1}
    text: {description: What is wrong and what to do., type: str}
held:
  description: What would be done but for a reason.
  returned: when this run looked
  type: list
  elements: dict
  contains:
    what: {description: What is held., type: str, sample: fence}
    subject: {description: The name of the host or the id of the VM., type: str, sample: esx1}
    reason: {description: Why., type: str}
ordered:
  description: What the last look ordered, each with its reasons; in check mode what a run would begin with.
  returned: when this run looked
  type: list
  elements: str
  sample: ["fence esx1: esx1 dead since 12:00:15 (api timed out, ping failed, storage failed 16 s, 4 samples)"]
proposed:
  description:
    - What would be done but waits for a person (RV(mode)), for the cluster to be armed, or is out of the caller's reach
      (O(host)).
    - Each with its C(kind), C(host), C(reasons), and C(why_not).
  returned: when this run looked
  type: list
  elements: dict
down:
  description: VMs that should run and are known to be down, in every mode.
  returned: when this run looked
  type: list
  elements: dict
  contains:
    id: {description: The VM., type: str, sample: "5f3b:web1/web1.vmx"}
    name: {description: Its name., type: str, sample: web1}
    host: {description: Where it is recorded., type: str, sample: esx1}
    reason: {description: What is done about it or why nothing is., type: str}
admission:
  description: Whether the cluster can still lose what its policy wants it to be able to lose.
  returned: when this run looked
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
  returned: when this run looked
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
disarmed:
  description: Who disarmed the cluster, and why. Empty when it is armed. Open transactions are not to be completed while it is disarmed.
  returned: when this run looked
  type: str
  sample: "alice: the switch is replaced"
settled:
  description: Whether another look would change nothing by itself.
  returned: when this run looked
  type: bool
taken_at:
  description: When it was decided.
  returned: when this run looked
  type: dict
summary:
  description: How it stands, in words; where another run did the work, what became of the commands.
  returned: when this run looked, or waited for another one
  type: list
  elements: str
undone:
  description:
    - What should be and is not, in words. These are fences to complete, and every VM of RV(down), whatever the mode and whoever could
      start it.
  returned: when this run looked
  type: list
  elements: str
failing:
  description:
    - Why the run fails, the worst alarm first. These are RV(undone) and RV(failed_acts), but not in check mode, and the standing alarms
      that the policy's C(fail_on_alarm) counts. Of planned work they are RV(commands) that are not done, and such alarms about it.
  returned: when this run looked, or waited for another one
  type: list
  elements: str
  sample: ["critical alarm: storage server san1 does not serve its target"]
lease_holder:
  description: The other run that is at work.
  returned: failure, when another run holds the lease and O(commands) is empty
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_run import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.state import hide_secrets
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module)
    carry_out(module, run)


if __name__ == "__main__":
    main()
