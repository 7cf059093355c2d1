#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_migrate
short_description: Move VMs to another host that works, or say everything that speaks against it
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Moves running and stopped VMs between hosts that work, by the best way that both hosts allow. docs/moving-vms.md of this collection says
    what happens to them.
  - First it looks, and changes nothing. If anything speaks against one of the VMs, the module fails, moves none, and names
    everything that speaks against all of them.
  - Then it gives the command V(migrate) for each VM and works as M(libreha.vmware.ha_run), or waits for the run that is at work. No host
    handles more VMs at a time than C(parallel_per_host) in the policy says.
  - Each thing that happens is shown in a line while it happens.
  - A VM that is there already is left as it is. What fails on the way leaves the VM running at its source.
options:
  vms:
    description: The VMs, by their names; by their ids where two have that name.
    type: list
    elements: str
    required: true
  to:
    description:
      - The host, by its name.
      - Without it, each VM goes to the host that suits it best. That is none which is kept free for failovers.
    type: str
    default: ""
  by:
    description: Who says so, for the journal.
    type: str
    default: an operator
  reason:
    description: Why, for the journal.
    type: str
    default: ""
  policy:
    description:
      - The policy with the hosts and storage servers in it, as the filter P(libreha.vmware.cluster_policy#filter) makes it.
    type: dict
    required: true
  wait:
    description:
      - Seconds to wait for the VMs to arrive while another run holds the lease.
      - Then the module fails and says how each stands. What no run took up by then is withdrawn, and what was taken up remains wanted.
    type: float
    default: 1800
  max_looks:
    description: The run ends after so many looks in which no VM was being moved.
    type: int
    default: 60
  socket:
    description: The resident monitor's socket.
    type: path
    default: /run/libreha/monitor.sock
  progress:
    description: A file to which each thing that happens is appended as a line. The action plugin of this module gives it and shows it.
    type: path
extends_documentation_fragment:
  - libreha.vmware.commands.way
  - libreha.vmware.hosts
  - libreha.vmware.state
  - libreha.vmware.storage_servers
attributes:
  check_mode:
    description: Looks, says what would be moved and where, and changes nothing.
    support: full
  diff_mode:
    description: There is nothing to show; where each VM is stands in RV(vms).
    support: none
seealso:
  - module: libreha.vmware.ha_run
  - module: libreha.vmware.ha_command
"""

EXAMPLES = r"""
- name: Move two VMs before the switch of their host is replaced
  libreha.vmware.vm_migrate:
    vms: [mail, web1]
    to: esx2
    reason: a new switch
    policy: "{{ libreha_policy | libreha.vmware.cluster_policy(hostvars, groups.libreha_hosts, groups.libreha_storage) }}"
    hosts: "{{ groups.libreha_hosts | libreha.vmware.host_connections(hostvars) }}"
    storage: "{{ groups.libreha_storage | libreha.vmware.storage_servers(hostvars, inventory_hostname) }}"
"""

RETURN = r"""
vms:
  description: Each of the VMs, in their order.
  returned: always, but for an error before the first look
  type: list
  elements: dict
  contains:
    name: {description: As it was given in O(vms)., type: str, sample: mail}
    host: {description: Where it is now. Empty when no such VM is known., type: str, sample: esx2}
    way: {description: "How it went there: V(suspend), V(cold) or V(register). Empty when it was not moved.", type: str, sample: suspend}
    progress: {description: "V(done), V(failed) or V(open).", type: str, sample: done}
    stands: {description: "How it stands, in words.", type: str, sample: mail is on esx2 (moved by suspend)}
ordered:
  description: What the last look ordered, in words with the reasons. In check mode these are the moves that would begin.
  returned: always, but for an error before the first look
  type: list
  elements: str
carried_out_by:
  description: The run that moved them while it held the lease. Empty when this one did.
  returned: always, but for an error before the first look
  type: str
failing:
  description: Why the task fails.
  returned: failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.state import hide_secrets
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out
from ansible_collections.libreha.vmware.plugins.module_utils.entry.vm_migrate import argument_spec, run


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module)
    carry_out(module, run)


if __name__ == "__main__":
    main()
