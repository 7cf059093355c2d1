#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: iscsi_session_info
short_description: What the storage server sees of the hosts - sessions and their progress, who is admitted, who is fenced
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Reads the iSCSI target service of the machine that the task runs on, with the progress counters of every session.
    Progress on a host's session is its heartbeat through the storage network.
  - Tells for each target who is admitted, now and after its next start. A target that admits anybody, in demo mode, by V(ALL) or by
    address, cannot fence a host.
  - Reads the fence list, and looks anew at each fence, whether it is confirmed and whether the target admits the fenced host all the same.
  - A service that is down or cannot be asked is a result and no failed task. A fence list that cannot be understood fails the task.
  - It changes nothing. Run it as root on the storage server.
extends_documentation_fragment:
  - libreha.vmware.info
  - libreha.vmware.storage
options:
  name:
    description:
      - The name of the storage server in the inventory; the result names it so.
      - The default is the machine's host name.
    type: str
seealso:
  - module: libreha.vmware.iscsi_fence
  - module: libreha.vmware.ha_run
"""

EXAMPLES = r"""
- name: Look at the storage server
  libreha.vmware.iscsi_session_info:
    name: "{{ item }}"
  delegate_to: "{{ item }}"
  loop: "{{ groups['libreha_storage'] }}"
  register: look
  become: true

- name: No target may admit anybody
  ansible.builtin.assert:
    that: look.storage.access | selectattr('anybody') | length == 0
    fail_msg: "{{ look.storage.access | selectattr('anybody') | map(attribute='reason') | join('; ') }}"

- name: A fence must mean what it says at every target
  ansible.builtin.assert:
    that: look.storage.access | selectattr('unfenceable') | length == 0
    fail_msg: "{{ look.storage.access | map(attribute='unfenceable') | unique | join('; ') }}"
"""

RETURN = r"""
storage:
  description: One look at the storage server, as M(libreha.vmware.ha_run) judges it.
  returned: success
  type: dict
  contains:
    name:
      description: The name of the storage server.
      type: str
    taken_at:
      description: When, on the storage server's boot-time clock (boot_id, seconds), with the wall time for people.
      type: dict
    driver:
      description: The kind of the target service.
      type: str
    serving:
      description: Whether the target service runs. V(null) when it could not be asked.
      type: bool
    reason:
      description: Why something could not be read.
      type: str
    up_for:
      description: Seconds since the target service started.
      type: float
    sessions:
      description: The sessions of all targets. V(null) when they could not be read.
      type: list
      elements: dict
      contains:
        initiator:
          description: The initiator's name.
          type: str
        target:
          description: The target's name.
          type: str
        sid:
          description: The session's number. Counters grow only within one.
          type: str
        address:
          description: The address that the session came from.
          type: str
        commands_done:
          description: Reads and writes that the back end has finished.
          type: int
        bytes_done:
          description: Bytes that these moved, and all octets received, so that an answered NOP counts as progress.
          type: int
        in_flight:
          description: Reads and writes that the back end has not finished.
          type: int
    access:
      description: Whom each target admits.
      type: list
      elements: dict
      contains:
        target:
          description: The target's name.
          type: str
        initiators:
          description: The initiators that it admits by name.
          type: list
          elements: str
        anybody:
          description: Whether it admits initiators whatever their name, now or after its next start.
          type: bool
        reason:
          description: Which rule admits anybody.
          type: str
        luns:
          description: The numbers of its logical units.
          type: list
          elements: int
        unfenceable:
          description:
            - Why a fence at this target proves nothing, whoever is admitted - a tgt before 1.0.83, or a target of tgt that is served over
              iSER. Empty when it does.
          type: str
    fences:
      description: The fence list, each fence with its present truth.
      type: list
      elements: dict
      contains:
        host:
          description: The fenced host.
          type: str
        initiator:
          description: Its initiator.
          type: str
        token:
          description: The fencing token of the run that fenced it.
          type: int
        at:
          description: When its right was last taken away, on the storage server's boot-time clock.
          type: dict
        reason:
          description: Why it was fenced.
          type: str
        confirmed:
          description: Whether none of its writes can land - durable, right gone, no session in two looks, nothing in flight.
          type: bool
        admitted:
          description: Whether a target admits it although it is fenced.
          type: bool
        why_not:
          description: What is missing for confirmed.
          type: str
    highest_token:
      description: The highest fencing token that the fence list has seen.
      type: int
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.iscsi_session_info import argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
