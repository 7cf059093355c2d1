# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a host's BMC is really the host's: what it says of its machine beside what the host says of itself.

A BMC that belongs to another machine is worse than none: its "off" is no proof, and switching it off stops a host that
works. So a host whose BMC is found to be another machine's is treated as one without a BMC, from the look that
finds it, and also when the BMC cannot be asked any more, until a look finds the right one.

The same holds for a host none of whose devices can prove that its power is off (fence/agent_proof.py): it counts as one without power
fencing, as long as that is so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..machine import Machine, is_one_of, same_machine, same_uuid, text_of, without_shared
from ..memory import Memory
from ..observations import HostObservation, Observation, Power
from ..policy import Policy
from ..replacing import replace


def wrong_mapping(host: str, reports: Mapping[str, Machine], behind: Sequence[Machine]) -> str:
    """Why the BMC of *host* is another machine's; empty when nothing speaks against it.

    Args:
        host: The host.
        reports: Each host's machine as the host itself told it, now or earlier.
        behind: The machines that the BMCs of *host* say they belong to.
    """
    reports, shared = without_shared(reports)
    behind = [replace(machine, uuid="") if is_one_of(machine, shared) else machine for machine in behind]
    own = reports.get(host, Machine())
    for machine in behind:
        if same_uuid(own, machine):
            continue
        mine = same_machine(own, machine)
        owners = [name for name, other in sorted(reports.items()) if name != host and same_uuid(other, machine)]
        if not owners and not mine:
            owners = [name for name, other in sorted(reports.items()) if name != host and same_machine(other, machine)]
        if owners:
            return "its BMC is that of %s (%s)" % (", ".join(owners), text_of(machine))
        if mine is False:
            return "its BMC says %s, the host itself says %s" % (text_of(machine), text_of(own))
    for number, machine in enumerate(behind):
        others = [other for other in behind[:number] if same_machine(machine, other) is False]
        if others:
            return "its BMCs are those of two machines: one says %s, one says %s" % (text_of(others[0]), text_of(machine))
    return ""


def distrust(observation: Observation, memory: Memory, policy: Policy) -> tuple[Observation, dict[str, str]]:
    """The look with each BMC left out that is another machine's or proves nothing, and for each host with another machine's why.

    A BMC that does not say now whose it is keeps what was found when it did.
    """
    known = {*policy.hosts, *(host.name for host in observation.hosts)}  # a host that was renamed is not two with one UUID
    reports = {record.name: record.machine for record in memory.hosts if record.name in known}
    reports.update({host.name: host.machine for host in observation.hosts if host.machine != Machine()})
    wrong = {record.name: record.wrong_bmc for record in memory.hosts if record.wrong_bmc}
    for seen in observation.hosts:
        if seen.behind_bmc or not (seen.has_bmc or policy.host(seen.name).has_bmc):
            wrong[seen.name] = wrong_mapping(seen.name, reports, seen.behind_bmc)
    wrong = {name: why for name, why in wrong.items() if why}
    useless = {**{seen.name: seen.proves_no_off for seen in observation.hosts if seen.proves_no_off}, **wrong}
    if not useless:
        return observation, wrong
    hosts = tuple(
        replace(host, power=_without_off(host, wrong), power_reason=useless[host.name], has_bmc=False) if host.name in useless else host
        for host in observation.hosts
    )
    return replace(observation, hosts=hosts), wrong


def _without_off(host: HostObservation, wrong: Mapping[str, str]) -> Power:
    """What its devices say of its power: another machine's say nothing, others prove at most that it is on."""
    return Power.UNKNOWN if host.name in wrong or host.power is Power.OFF else host.power
