#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: ha_command
short_description: Tell the cluster what a person wants - approve, stop, migrate, disarm and so on
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Writes a command into the state database. Whatever run of the monitor looks next takes it up, once, journals it with the person's name
    and reason, and acts on it in this look and those that follow, with the same guards as on everything else.
  - A command changes only what is wanted. It starts, stops, moves and fences nothing by itself.
  - One that cannot be understood or carried out is refused, which is journaled with the reason and costs the monitor nothing. With
    O(wait) the module fails then.
  - Run it on the machine that has the state database, which is the arbiter.
options:
  wait:
    description:
      - Seconds to wait until a run has taken the command up. If none has, the command is withdrawn and the module fails.
      - With V(0) the module does not wait, and RV(command.state) is V(waiting).
    type: float
    default: 0
  valid_for:
    description:
      - A command that no run took up within so many seconds is refused. A restart of the machine ends it as well, since nobody can tell
        then how old it is.
      - O(wait), if it is longer, counts instead.
    type: float
    default: 600
extends_documentation_fragment:
  - libreha.vmware.commands.one
  - libreha.vmware.state
attributes:
  check_mode:
    description: Says whether the command would be refused by what the monitor remembers. Nothing is written.
    support: full
  diff_mode:
    description: What a command changes is told by the journal.
    support: none
seealso:
  - module: libreha.vmware.ha_run
  - module: libreha.vmware.ha_state_info
"""

EXAMPLES = r"""
- name: Take the cluster out of service for work on the network, and hear that this was understood
  libreha.vmware.ha_command:
    kind: disarm
    by: Ada
    reason: the core switch is replaced
    wait: 90

- name: Say yes to what is proposed about a host
  libreha.vmware.ha_command:
    kind: approve
    subject: esx1
    by: Ada
    reason: I saw it burn
"""

RETURN = r"""
command:
  description: The command and what became of it.
  returned: when it was given
  type: dict
  contains:
    number: {description: Its number., type: int, sample: 12}
    kind: {description: What is asked for., type: str, sample: approve}
    subject: {description: The VM or host that it is about., type: str, sample: esx1}
    to: {description: Where to move the VM., type: str}
    by: {description: Who asks for it., type: str, sample: Ada}
    reason: {description: Why., type: str}
    state: {description: "V(waiting), V(applied), V(refused) or V(withdrawn).", type: str, sample: applied}
    outcome: {description: "What it changed, or why it was refused.", type: str, sample: "what is proposed for esx1 is approved (Ada)"}
    token: {description: The token of the run that took it up; 0 if none did., type: int, sample: 17}
    holds: {description: Seconds for which something is switched off; 0 where nothing is., type: float, sample: 0}
    way: {description: The way that a migration named; empty where none did., type: str, sample: ""}
    valid_for: {description: Seconds in which a run must take it up., type: float, sample: 600}
    given_at: {description: "When it was given, with C(boot_id), C(seconds) and C(wall).", type: dict}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.ha_command import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.state import hide_secrets
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module)
    carry_out(module, run)


if __name__ == "__main__":
    main()
