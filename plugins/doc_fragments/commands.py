# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from textwrap import indent

WAY_OPTION = r"""
way:
  description:
    - When a VM is migrated or its host is emptied, how it leaves. With V(auto) the best way that both hosts allow is taken, and named with
      the move.
    - V(suspend) writes the memory of a running VM to its datastore and reads it again at the destination; both hosts must have the same
      CPU. V(cold) asks its guest to shut down and starts it there. V(power_off) switches it off without asking, and is never taken unless
      it is named. V(register) is for a VM that is off. V(vmotion) hands it over while it runs; standalone hosts cannot.
    - What speaks against a way that was named refuses the move; no other way is taken in its place.
  type: str
  choices: [auto, register, cold, power_off, suspend, vmotion]
  default: auto
"""

COMMAND = r"""
kind:
  description:
    - V(migrate), V(start), V(stop), V(ignore) (take a VM out of HA as it is) and V(manage) (put it back) are about a VM.
    - V(maintenance_on), V(maintenance_off), V(failback) and V(rejoin) (let a fenced host in again) are about a host. With V(failback) the
      VMs that left it for maintenance, and those whose rules prefer it, come to it, also where that stops them.
    - V(confirmed_restart) is V(rejoin) with the person's word that the host was started after its fence; it counts where no uptime can
      prove that, because a storage server was itself restarted since. V(confirmed_off) is the person's word that a host is
      switched off and stays off until it is let in again; it takes the place of an answer of a storage server or BMC that cannot
      be asked, and never overrules one that answers otherwise. V(failover) orders that a host which is lost be failed over, whatever
      the policy's C(mode); of a host that works it changes nothing.
    - V(approve) says yes to what the policy with C(mode=ask) proposes about a host or VM. About one that is down it holds until that
      is well again; about one that works it is a yes to moves and resets only, and holds while one is planned.
    - V(remove_host) takes a host out of the cluster for good that is emptied for maintenance, or fenced and proved off. It is locked out of
      every storage server, and forgotten when the inventory does not name it any more; one that the inventory does not name already is
      forgotten at once, if nothing of it is left open.
    - V(release_brake) lets the hosts through that the brake held at the look before, and none that is lost later. V(disarm) and
      V(arm) are about the whole cluster, as is V(rebalance).
    - V(shutdown) shuts everything down in order, VMs and then hosts, as on a UPS's word; the storage servers are left on.
      V(cancel_shutdown) calls it off, and what was switched off starts again. Of a shutdown that is over it changes nothing.
  type: str
  required: true
  choices:
    - migrate
    - start
    - stop
    - ignore
    - manage
    - maintenance_on
    - maintenance_off
    - failback
    - rejoin
    - confirmed_restart
    - confirmed_off
    - remove_host
    - failover
    - release_brake
    - approve
    - disarm
    - arm
    - rebalance
    - shutdown
    - cancel_shutdown
subject:
  description: The VM (name or id) or host. Not needed for commands about the cluster.
  type: str
  default: ""
to:
  description: With V(migrate), the host; without one, the VM goes to the host that suits it best.
  type: str
  default: ""
by:
  description: Who says so.
  type: str
  default: an operator
reason:
  description: Why; what was seen. Needed with V(disarm), V(maintenance_on), V(ignore), V(remove_host) and V(shutdown).
  type: str
  default: ""
holds:
  description:
    - With V(disarm), V(maintenance_on), V(ignore) and V(shutdown), the seconds for which that holds; 0 is what the policy's C(switch_off)
      says.
    - A cluster is armed, a VM back in HA and a shutdown over by itself at the end. A host stays in
      maintenance, and an alarm asks for the end. Given again, each is prolonged.
  type: float
  default: 0
"""


class ModuleDocFragment:
    """What people ask for (plugins/module_utils/entry/options/commands.py): a list of commands; ``commands.one``: a single one;
    ``commands.way``: the way of a migration alone.

    The types are spelled out because ansible-test takes a plain assignment for a literal, which these are not.
    """

    ONE: str = "options:\n" + indent(COMMAND + WAY_OPTION, " " * 2)

    WAY: str = "options:\n" + indent(WAY_OPTION, " " * 2)

    DOCUMENTATION: str = r"""
options:
  commands:
    description:
      - What people ask for, as with M(libreha.vmware.ha_command). The commands are given before the lease is taken; while another run
        holds it, that one carries them out, and this one waits for the outcome.
    type: list
    elements: dict
    default: []
    suboptions:
""" + indent(COMMAND + WAY_OPTION, " " * 6)
