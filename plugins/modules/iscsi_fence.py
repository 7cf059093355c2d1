#!/usr/bin/python

# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: iscsi_fence
short_description: Take a host's right to write away at the storage server, durably and confirmed, or give it back
version_added: "0.1.0"
author:
  - The libreha contributors (@libreha)
description:
  - Fences a host at the iSCSI target, so that none of its writes can land any more, whatever state the host is in.
  - A fence is confirmed when it is in the fence list and in the saved configuration on disk, no target admits the host,
    it has no session in two looks, none of its commands is in flight in the back end, and no login that began before is still under way.
    The task fails when that cannot be confirmed, and names what is missing. It is safe to run again, which completes what is missing.
  - Every act carries a fencing token. The fence list keeps the highest token that it has seen and refuses lower ones.
  - A host is let in again only after a fresh start, because a host that was cut off delivers the writes that it could not deliver before.
  - Run it as root on the storage server.
extends_documentation_fragment:
  - libreha.vmware.storage
  - libreha.vmware.deadline
options:
  state:
    description:
      - V(fenced) takes the right of O(initiators) away and confirms it.
      - V(unfenced) gives it back in exactly the targets that it was taken from. It needs evidence of a fresh start after the fence,
        which is O(uptime), O(power_cycled) or O(force). A host that was let in already is not changed. One that was never fenced on this
        storage server is refused, since its name is most likely a wrong one.
      - V(reapplied) applies everything that is in the fence list. Run it when the storage server starts, before its portals open,
        and whenever its configuration was written anew. It needs no token, because it only repeats what was decided.
    type: str
    choices: [fenced, unfenced, reapplied]
    default: fenced
  host:
    description:
      - The name of the host in the inventory.
      - Required with O(state=fenced) and O(state=unfenced).
    type: str
  initiators:
    description:
      - All iSCSI initiator names of the host.
      - Required with O(state=fenced). With O(state=unfenced), none means all that the fence list has of the host.
    type: list
    elements: str
    default: []
  token:
    description:
      - The fencing token of the run's lease.
      - Required with O(state=fenced) and O(state=unfenced).
    type: int
  reason:
    description:
      - Why, for people. It is kept in the fence list.
      - Required with O(state=fenced), and with O(force).
    type: str
  wait:
    description:
      - For how many seconds to go on ending what still lives until the fence is confirmed.
    type: float
    default: 10.0
  uptime:
    description:
      - With O(state=unfenced), for how many seconds the host has been running, as the host itself says. It is let in when that is less than
        the age of the fence, by O(margin), on this machine's boot-time clock.
      - If this machine was itself restarted since the fence, the two cannot be compared.
      - It needs O(uptime_age) or O(uptime_read_at).
    type: float
  uptime_age:
    description:
      - How many seconds ago O(uptime) was read.
    type: float
  uptime_read_at:
    description:
      - When O(uptime) was read, as C(taken_at) of M(libreha.vmware.host_health_info). It is of use only if it was read on this machine.
    type: dict
  margin:
    description:
      - By how many seconds the host must have been started after the fence.
    type: float
    default: 30.0
  power_cycled:
    description:
      - With O(state=unfenced), the host's BMC switched it off, confirmed by M(libreha.vmware.host_fence), and on again, after the fence.
    type: bool
    default: false
  force:
    description:
      - With O(state=unfenced), the name of the host again, written by the person who knows that it was restarted after the fence.
        It needs a O(reason).
    type: str
  running_vms:
    description:
      - With O(state=unfenced), the VMs that are recorded as running on this host. If there are any it is refused; this cannot be forced.
    type: list
    elements: str
    default: []
  chap_user:
    description:
      - With O(state=unfenced), the CHAP account that belongs to this host alone.
      - A CHAP account of tgt is a user and a secret and is not bound to an initiator. Without this option, an account with the name of the
        initiator, which is what ESXi uses by default, is taken for the host's own. With an account that hosts share, the secret cannot
        be changed for one of them and stays as it is.
      - With O(driver=lio) each ACL has an account of its own, and this option renames its user.
    type: str
  chap_secret:
    description:
      - With O(state=unfenced), the new CHAP secret of the host. It is required, and must differ from the old one,
        where the host has a CHAP account of its own. Set the same secret on the host.
      - With O(driver=lio) no secret that the host had at one of its fences is taken again, and M(libreha.vmware.iscsi_target) refuses
        those too. Put the new one into the inventory.
      - It has 12 to 100 characters, which are letters, digits, and C(._/+-).
    type: str
attributes:
  check_mode:
    description: Tells what would be changed, and whether the fence is confirmed already.
    support: full
  diff_mode:
    description: Shows who is admitted, at run time and by the saved configuration, and who is fenced. Never a secret.
    support: full
seealso:
  - module: libreha.vmware.iscsi_session_info
  - module: libreha.vmware.host_fence
  - module: libreha.vmware.ha_state
"""

EXAMPLES = r"""
- name: Fence esx1
  libreha.vmware.iscsi_fence:
    state: fenced
    host: esx1
    initiators:
      - iqn.1998-01.com.vmware:esx1
    token: "{{ lease.lease.token }}"
    deadline: "{{ lease.lease.deadline }}"
    reason: dead, no progress on its storage sessions for 15 s
  delegate_to: storage1
  become: true

- name: Let esx1 in again, it was restarted
  libreha.vmware.iscsi_fence:
    state: unfenced
    host: esx1
    token: "{{ lease.lease.token }}"
    uptime: "{{ health.hosts[0].uptime }}"
    uptime_read_at: "{{ health.hosts[0].taken_at }}"
  delegate_to: storage1
  become: true

- name: Let esx1 in again on a person's word
  libreha.vmware.iscsi_fence:
    state: unfenced
    host: esx1
    token: "{{ lease.lease.token }}"
    force: esx1
    reason: power supply replaced, the machine was without power (J. Doe)
  delegate_to: storage1
  become: true

- name: Apply the fence list when the storage server starts
  libreha.vmware.iscsi_fence:
    state: reapplied
  become: true
"""

RETURN = r"""
confirmed:
  description:
    - Whether the fence is confirmed, for all of RV(initiators). Also returned by a failed task.
    - V(false) where the target cannot be asked, even with nothing on the fence list, because nothing is known then.
  returned: with O(state=fenced) and O(state=reapplied)
  type: bool
  sample: true
chap_renewed:
  description: Whether an initiator was given a new CHAP secret, which the host needs as well.
  returned: success
  type: bool
  sample: false
token:
  description: The token of this run. With O(state=reapplied) the highest that the fence list has seen.
  returned: success
  type: int
  sample: 7
initiators:
  description: The initiators that were meant.
  returned: success
  type: list
  elements: str
  sample: ["iqn.1998-01.com.vmware:esx1"]
sessions_ended:
  description: How many sessions were ended. In check mode, how many would be.
  returned: success
  type: int
  sample: 1
why_not:
  description: What is missing for RV(confirmed), with the initiator.
  returned: success
  type: list
  elements: str
  sample: []
steps:
  description: What was done, in order.
  returned: success
  type: list
  elements: dict
  contains:
    step:
      description: What.
      type: str
    changed:
      description: Whether there was something to do.
      type: bool
    after:
      description: Seconds after the start, on the boot-time clock.
      type: float
  sample:
    - step: fence list durable
      changed: true
      after: 0.011
    - step: verified
      changed: false
      after: 0.372
host:
  description: The host that a failed task was about.
  returned: failure, when there is one
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.libreha.vmware.plugins.module_utils.entry.iscsi_fence import REQUIRED_IF, argument_spec, run
from ansible_collections.libreha.vmware.plugins.module_utils.entry.task import carry_out


def main() -> None:
    module = AnsibleModule(argument_spec=argument_spec(), required_if=REQUIRED_IF, supports_check_mode=True)
    carry_out(module, run)


if __name__ == "__main__":
    main()
