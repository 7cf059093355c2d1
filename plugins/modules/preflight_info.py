#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Find out whether a cluster can be relied on, before it is
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Reads, on the arbiter, everything that must be so before anybody relies on the cluster, and judges it. It changes nothing anywhere.
  - The hosts and the storage servers are asked at the same time. Each host is read by the look that the monitor takes too, by one survey
    whose number of round trips does not depend on the number of VMs, and by one look at its certificate.
  - What could not be read is a finding of the level V(unknown), never V(ok).
  - A finding is a result, RV(findings), and no failure of the module. The playbook C(preflight) fails by RV(failing).
options:
  policy:
    description:
      - The policy with the hosts and storage servers in it, as the filter P(libreha.vmware.cluster_policy#filter) makes it.
      - Its C(fail_on_alarm) says which findings are in RV(failing); what is not known weighs as much as a warning.
    type: dict
    required: true
  services:
    description:
      - What must not run in this very cluster, since it is needed when a host fails, each with an address or a list of addresses or names.
        Usual ones are V(mail relay), V(awx) and V(ups client); an empty list says that there is none.
      - The name servers of the arbiter are looked at anyway.
    type: dict
    default: {}
  state_backup:
    description:
      - A pattern of file names on the arbiter for the copies of the state database; the newest one counts. By default the name of the state
        database with C(.backup-*) behind it.
    type: str
  state_backup_max_age:
    description: Days after which the newest copy is too old.
    type: float
    default: 7
extends_documentation_fragment:
  - libreha.vmware.info
  - libreha.vmware.hosts
  - libreha.vmware.state
  - libreha.vmware.storage_servers
"""

EXAMPLES = r"""
- name: Find out whether the cluster can be relied on
  libreha.vmware.preflight_info:
    policy: "{{ libreha_policy | libreha.vmware.cluster_policy(hostvars, groups.libreha_hosts, groups.libreha_storage) }}"
    hosts: "{{ groups.libreha_hosts | libreha.vmware.host_connections(hostvars) }}"
    storage: "{{ groups.libreha_storage | libreha.vmware.storage_servers(hostvars, inventory_hostname) }}"
    services:
      mail relay: mail.example.org
      ups client: []
  register: preflight

- name: Show it
  ansible.builtin.debug:
    msg: "{{ preflight.table }}"
"""

RETURN = r"""
findings:
  description: What was found, the worst first.
  returned: success
  type: list
  elements: dict
  contains:
    check: {description: What was checked; docs/preflight.md has each., type: str, sample: autostart}
    subject: {description: "The host, VM, server or library that it is about, or V(cluster).", type: str, sample: esx1}
    level: {description: "V(critical), V(warning), V(unknown), V(info) or V(ok).", type: str, sample: critical}
    text: {description: What was found., type: str}
    remedy: {description: What to do about it; empty where it is V(ok)., type: str}
table:
  description: The same as lines for people.
  returned: success
  type: list
  elements: str
worst:
  description: The level of the worst finding.
  returned: success
  type: str
  sample: warning
counts:
  description: Level to number of findings.
  returned: success
  type: dict
  sample: {critical: 0, info: 2, ok: 31, unknown: 3, warning: 1}
failing:
  description: The findings that the policy's C(fail_on_alarm) counts, in words.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.state import hide_secrets
from ansible_collections.libreha.vmware.plugins.module_utils.entry.preflight_info import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    hide_secrets(module)
    carry_out(module, run)


if __name__ == "__main__":
    main()
