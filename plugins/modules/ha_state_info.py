#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ha_state_info
short_description: Read the state of the cluster - what runs where, the lease, open alarms, the journal
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Reads the state database and changes nothing. Everything is from one moment.
  - Run it on the machine that has the database, usually the storage server. M(libreha.vmware.ha_state) creates it.
options:
  include:
    description:
      - What is returned.
    type: list
    elements: str
    choices: [lease, hosts, vms, transactions, alarms, journal, commands, memory]
    default: [lease, hosts, vms, transactions, alarms, journal]
  journal:
    description:
      - Which entries of the journal are returned.
    type: dict
    suboptions:
      since:
        description:
          - Only entries after the one with this number, the first O(journal.limit) of them.
          - Without it the last O(journal.limit) are returned.
        type: int
      kinds:
        description: Only entries of these kinds.
        type: list
        elements: str
      subject:
        description: Only entries about this host, VM or other thing.
        type: str
      limit:
        description: At most so many entries; 0 or more.
        type: int
        default: 20
      text:
        description: Return RV(journal_text), for people, in place of RV(journal).
        type: bool
        default: false
  transactions:
    description:
      - Which failover transactions are returned.
    type: dict
    suboptions:
      source:
        description: Only those of VMs that ran on this host.
        type: str
      limit:
        description: At most so many of those that are closed, the last ones; 0 or more. The open ones are always returned.
        type: int
        default: 20
extends_documentation_fragment:
  - libreha.vmware.info
  - libreha.vmware.state
seealso:
  - module: libreha.vmware.ha_state
"""

EXAMPLES = r"""
- name: What runs where, and what happened last
  libreha.vmware.ha_state_info:
  register: cluster

- name: Everything that was fenced or failed over since entry 1200, from PostgreSQL
  libreha.vmware.ha_state_info:
    state_url: "postgresql+psycopg://libreha:{{ vault_state_password }}@db.example.com/libreha"
    include: [journal]
    journal:
      since: 1200
      kinds: [fence, step]
      limit: 500
"""

RETURN = r"""
lease:
  description: The lease.
  returned: if included
  type: dict
  contains:
    holder:
      description: Who holds it; empty if it is free.
      returned: always
      type: str
    token:
      description: Its token, or the last one if it is free.
      returned: always
      type: int
    remaining:
      description: Seconds that remain; 0 if it ended; null if it cannot be told from this machine.
      returned: always
      type: float
    alive:
      description: Whether somebody holds it and it has not ended; null if it cannot be told from this machine.
      returned: always
      type: bool
    granted_at:
      description: When it was taken, prolonged or freed last, with C(boot_id), C(seconds) and C(wall).
      returned: always
      type: dict
hosts:
  description: The hosts' states.
  returned: if included
  type: list
  elements: dict
  contains:
    name:
      description: The host.
      returned: always
      type: str
    verdict:
      description: What the monitor holds true of it.
      returned: always
      type: str
    reason:
      description: Why.
      returned: always
      type: str
    fenced:
      description: Whether it is fenced.
      returned: always
      type: bool
    detail:
      description: What else is known.
      returned: always
      type: dict
    updated_at:
      description: When this last changed, with C(boot_id), C(seconds) and C(wall).
      returned: always
      type: dict
vms:
  description: What runs where.
  returned: if included
  type: list
  elements: dict
  contains:
    vm_id:
      description: The VM's identity, its datastore's UUID and the path of its vmx file.
      returned: always
      type: str
    name:
      description: Its name.
      returned: always
      type: str
    path:
      description: The path of its vmx file.
      returned: always
      type: str
    host:
      description: Where it is.
      returned: always
      type: str
    desired:
      description: What it should be, started or stopped.
      returned: always
      type: str
    power:
      description: Its power state at the last look.
      returned: always
      type: str
    detail:
      description: What else is known.
      returned: always
      type: dict
    updated_at:
      description: When this last changed, with C(boot_id), C(seconds) and C(wall).
      returned: always
      type: dict
transactions:
  description: Failovers of single VMs, the open ones first, then those that were closed last.
  returned: if included
  type: list
  elements: dict
  contains:
    id:
      description: The transaction.
      returned: always
      type: str
    vm_id:
      description: The VM's identity.
      returned: always
      type: str
    vm_name:
      description: The VM's name.
      returned: always
      type: str
    path:
      description: The path of its vmx file.
      returned: always
      type: str
    source:
      description: The host that it ran on.
      returned: always
      type: str
    destination:
      description: The host that it is to run on.
      returned: always
      type: str
    step:
      description: The last step that is done.
      returned: always
      type: str
    power_on:
      description: Whether it is to be powered on.
      returned: always
      type: bool
    attempts:
      description: How often it was tried.
      returned: always
      type: int
    token:
      description: The token of the run that wrote it last.
      returned: always
      type: int
    reasons:
      description: Why it is done, and why so.
      returned: always
      type: list
      elements: str
    detail:
      description: What else the run noted.
      returned: always
      type: dict
    closed:
      description: Whether it has ended.
      returned: always
      type: bool
    outcome:
      description: How it ended; empty while it is open.
      returned: always
      type: str
    opened_at:
      description: When it was opened, with C(boot_id), C(seconds) and C(wall).
      returned: always
      type: dict
    updated_at:
      description: When it last changed, with C(boot_id), C(seconds) and C(wall).
      returned: always
      type: dict
alarms:
  description: The alarms that are open, oldest first.
  returned: if included
  type: list
  elements: dict
  contains:
    key:
      description: The same for as long as the same thing is wrong.
      returned: always
      type: str
    subject:
      description: The host, VM or storage server.
      returned: always
      type: str
    text:
      description: What is wrong.
      returned: always
      type: str
    data:
      description: What else is known, such as C(severity).
      returned: always
      type: dict
    since:
      description: Since when, with C(boot_id), C(seconds) and C(wall).
      returned: always
      type: dict
journal_text:
  description: Entries of the journal, in order, a line for each, and indented below it why.
  returned: if included and O(journal.text) is true
  type: list
  elements: str
  sample:
    - "2026-11-29 03:56:11Z  action    ordered: fence esx1"
    - "    esx1 dead since 03:55:52 (api timed out, ping failed, power off, storage failed 20 s, 5 samples)"
journal:
  description: Entries of the journal, in order.
  returned: if included and O(journal.text) is false
  type: list
  elements: dict
  contains:
    seq:
      description: Number of the entry; they follow each other without a gap.
      returned: always
      type: int
    kind:
      description: What kind of entry it is, such as verdict, alarm, held, fence, step, lease, person.
      returned: always
      type: str
    subject:
      description: The host, VM or other thing that it is about.
      returned: always
      type: str
    key:
      description: The key of an alarm.
      returned: always
      type: str
    text:
      description: What happened and why.
      returned: always
      type: str
    data:
      description: The facts.
      returned: always
      type: dict
    token:
      description: The token that it was written under.
      returned: always
      type: int
    holder:
      description: The run, or the person, that wrote it.
      returned: always
      type: str
    at:
      description: When, with C(boot_id), C(seconds) and C(wall).
      returned: always
      type: dict
    wall:
      description: The wall time, for people only.
      returned: always
      type: str
commands:
  description: What people asked for last, in order, as RV(libreha.vmware.ha_command#module:command).
  returned: if included
  type: list
  elements: dict
memory:
  description: What the monitor remembers; null before its first look.
  returned: if included
  type: dict
memory_version:
  description: How often the memory was saved.
  returned: if RV(memory) is included
  type: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_state_info import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.state import hide_secrets
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module)
    carry_out(module, run)


if __name__ == "__main__":
    main()
