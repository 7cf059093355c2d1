# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a host's BMC is really the host's: what it says of its machine beside what the host says of itself.

A BMC that belongs to another machine is worse than none: its "off" is no proof, and switching it off stops a host that
works. So a host whose BMC is found to be another machine's is treated as one without a BMC, from the look that
finds it, and also when the BMC cannot be asked any more, until a look finds the right one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..machine import Machine, same_machine, same_uuid, text_of
from ..memory import Memory
from ..observations import Observation, Power
from ..policy import Policy


def wrong_mapping(host: str, told: Mapping[str, Machine], behind: Sequence[Machine]) -> str:
    """Why the BMC of *host* is another machine's; empty when nothing speaks against it.

    Args:
        host: The host.
        told: Each host's machine as the host itself told it, now or earlier.
        behind: The machines that the BMCs of *host* say they belong to.
    """
    own = told.get(host, Machine())
    for machine in behind:
        if same_uuid(own, machine):
            continue
        mine = same_machine(own, machine)
        owners = [name for name, other in sorted(told.items()) if name != host and same_uuid(other, machine)]
        if not owners and not mine:
            owners = [name for name, other in sorted(told.items()) if name != host and same_machine(other, machine)]
        if owners:
            return "its BMC is that of %s (%s)" % (", ".join(owners), text_of(machine))
        if mine is False:
            return "its BMC says %s, the host itself says %s" % (text_of(machine), text_of(own))
    return ""


def distrust(observation: Observation, memory: Memory, policy: Policy) -> tuple[Observation, dict[str, str]]:
    """The look as if hosts with another machine's BMC had none, and for each of those hosts why.

    A BMC that does not say now whose it is keeps what was found when it did.
    """
    told = {record.name: record.machine for record in memory.hosts}
    told.update({host.name: host.machine for host in observation.hosts if host.machine != Machine()})
    wrong = {record.name: record.wrong_bmc for record in memory.hosts if record.wrong_bmc}
    for seen in observation.hosts:
        if seen.behind_bmc or not (seen.has_bmc or policy.host(seen.name).has_bmc):
            wrong[seen.name] = wrong_mapping(seen.name, told, seen.behind_bmc)
    wrong = {name: why for name, why in wrong.items() if why}
    if not wrong:
        return observation, wrong
    hosts = tuple(
        replace(host, power=Power.UNKNOWN, power_reason=wrong[host.name], has_bmc=False) if host.name in wrong else host
        for host in observation.hosts
    )
    return replace(observation, hosts=hosts), wrong
