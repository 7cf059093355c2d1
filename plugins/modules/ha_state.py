#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ha_state
short_description: Keep the state database of the cluster - its schema, the lease, the journal
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - The state database holds what the monitor remembers, the hosts' states and what runs where, every failover that is under way,
    the alarms that are open, the journal of what was done and why, and the lease under which one run at a time may act.
  - This module creates or migrates it, takes and releases the lease, and appends to the journal. M(libreha.vmware.ha_state_info) reads it.
  - Run it on the machine that has the database, usually the storage server.
options:
  state:
    description:
      - V(present) makes sure that the database is there and has this collection's version of the schema. An older version is migrated,
        an SQLite file after a backup copy beside it, and never while a run holds the lease. A newer version is refused.
      - V(leased) takes the lease for O(holder), or prolongs it. It creates the database where it is missing, as V(present) does.
        A new token is given, higher than O(above) and than every token before, unless O(holder) holds the lease already.
      - V(released) frees the lease that O(holder) has with O(token). Nothing that acts under it may still be under way.
        A lease that O(holder) had and has no more is free already. A token that it never had is an error.
      - V(journaled) appends O(entries) to the journal.
    type: str
    choices: [present, leased, released, journaled]
    default: present
  holder:
    description:
      - With O(state=leased) and O(state=released), the run that holds the lease. Give every run a name of its own;
        two runs of one name would share the lease.
      - With O(state=journaled) and no O(token), the name of the person who makes the entries.
    type: str
  token:
    description:
      - With O(state=leased), prolong exactly the lease with this token. The task fails when it is lost, instead of taking a new one.
      - With O(state=released), the token of the lease to free.
      - With O(state=journaled), the token of the lease under which the entries are made.
    type: int
  lease:
    description:
      - Length of the lease in seconds, from now. A lease is never shortened.
    type: float
    default: 60
  above:
    description:
      - The highest fencing token that a storage server has seen; a new token is higher. So a database that was lost or is old does no harm.
    type: int
    default: 0
  wait:
    description:
      - How many seconds to wait for the lease while another run holds it.
    type: float
    default: 0
  step_down:
    description:
      - With O(state=leased), if the resident monitor has the lease, ask it to step down for O(holder). It does so at once where nothing
        is to be done, and otherwise within half a minute or not at all. It takes the lease again when O(holder) has freed it or let it end.
      - Nobody watches the hosts meanwhile.
    type: bool
    default: false
  socket:
    description:
      - The resident monitor's socket, for O(step_down).
    type: path
    default: /run/libreha/monitor.sock
  entries:
    description:
      - What to append to the journal.
    type: list
    elements: dict
    suboptions:
      text:
        description: A sentence for people.
        type: str
        required: true
      kind:
        description: Kind of the entry. Without O(token) only V(person) is accepted.
        type: str
        default: person
      subject:
        description: The host, VM or other thing that the entry is about.
        type: str
        default: ''
      data:
        description: Facts, as JSON. Never put a secret here.
        type: dict
        default: {}
extends_documentation_fragment:
  - libreha.vmware.state
attributes:
  check_mode:
    description: Can run in check mode and tell what would change; then it writes nothing, makes no file, and gives no token.
    support: full
  diff_mode:
    description: Shows what changed, or in check mode would change.
    support: full
seealso:
  - module: libreha.vmware.ha_state_info
"""

EXAMPLES = r"""
- name: Create the state database, or migrate it after an upgrade
  libreha.vmware.ha_state:
    state: present

- name: Take the lease for this run, for a minute, above the token that the storage server has seen
  libreha.vmware.ha_state:
    state: leased
    holder: "{{ inventory_hostname }} {{ lookup('community.general.random_string', length=12) }}"
    lease: 60
    above: "{{ sessions.storage.highest_token }}"
    wait: 90
  register: lease

- name: Take it from the resident monitor for a while
  libreha.vmware.ha_state:
    state: leased
    holder: fence test of esx3
    step_down: true

- name: Prolong it
  libreha.vmware.ha_state:
    state: leased
    holder: "{{ lease.lease.holder }}"
    token: "{{ lease.token }}"

- name: Free it
  libreha.vmware.ha_state:
    state: released
    holder: "{{ lease.lease.holder }}"
    token: "{{ lease.token }}"

- name: Leave a note for whoever reads the journal
  libreha.vmware.ha_state:
    state: journaled
    holder: Ada
    entries:
      - text: Power supply of esx2 is being replaced
        subject: esx2
"""

RETURN = r"""
schema_version:
  description: Version of the schema of the database.
  returned: O(state=present)
  type: int
  sample: 1
migrated_from:
  description: The version that was found.
  returned: O(state=present) and it was, or in check mode would be, migrated
  type: int
backup:
  description: The copy that was made of an SQLite file before it was migrated.
  returned: O(state=present) and an SQLite file was migrated
  type: str
  sample: /var/lib/libreha/state.db.backup-v1-20261123T201500
token:
  description: The fencing token of the lease; it only grows.
  returned: O(state=leased); in check mode only if O(token) was given
  type: int
  sample: 17
remaining:
  description: Seconds that remain of the lease.
  returned: O(state=leased); in check mode only if O(token) was given
  type: float
  sample: 60.0
deadline:
  description: When the lease ends, on the boot-time clock of the machine that the module ran on. Every act must have ended before.
  returned: O(state=leased), not in check mode
  type: dict
  contains:
    boot_id:
      description: The boot that C(seconds) counts from.
      returned: always
      type: str
    seconds:
      description: Seconds since that boot.
      returned: always
      type: float
    wall:
      description: The wall time, for people only.
      returned: always
      type: str
  sample: {"boot_id": "63a0915d-5b07-4d2e-be75-c39bee8201b9", "seconds": 1804.33, "wall": "2026-11-23T20:02:45.768+00:00"}
lease:
  description: The lease.
  returned: O(state=leased), not in check mode unless O(token) was given
  type: dict
  contains:
    holder:
      description: Who holds it.
      returned: always
      type: str
    token:
      description: Its token.
      returned: always
      type: int
    remaining:
      description: Seconds that remain; null in check mode if it cannot be told from this machine.
      returned: always
      type: float
    deadline:
      description: When it ends, see RV(deadline).
      returned: not in check mode
      type: dict
seq:
  description: The numbers of the new entries in the journal.
  returned: O(state=journaled), not in check mode
  type: list
  elements: int
  sample: [1207]
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_state import REQUIRED_IF, argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.state import hide_secrets
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), required_if=REQUIRED_IF, supports_check_mode=True)
    hide_secrets(module)
    carry_out(module, run)


if __name__ == "__main__":
    main()
