# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The brake: losing many hosts at once says that the judge is wrong, not the hosts.

Invariant: within any ``brake_window`` no more than ``max_dead_fraction`` of the hosts are given a fence. Everyone whose
verdict would lead to a fence counts from its first sample on, confirmed or not, and so does every other host whose storage
failed. Whoever was fenced within the window goes on counting, so hosts that fail one after another do not slip through. While the brake
holds, a host leaves the count only by answering again, by being proved off, or by a person's word - not by
its evidence fading to unknown. A person's word covers the hosts that were lost when it was given. Hosts that are lost later are
counted among those that were left then, so that the word for some does not let the rest go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from ...instant import Instant
from ..memory import BrakeRecord, Condemned
from ..policy import Policy


@dataclass(frozen=True)
class HostForBrake:
    """What the brake must know of a host."""

    condemned: bool  # its verdict would lead to a fence, or its storage failed
    answers: bool  # its verdict is one of a working host
    proved_off: bool
    fenced: bool  # on the fence list
    maintenance: bool


@dataclass(frozen=True)
class Brake:
    record: BrakeRecord
    held: bool
    text: str
    released: tuple[str, ...] = ()

    def stops(self, host: str) -> bool:
        return self.held and host not in self.released


def apply_brake(record: BrakeRecord, hosts: Mapping[str, HostForBrake], policy: Policy, now: Instant) -> Brake:
    """Count the hosts and say whether fences are held."""
    before = {item.host: item.at for item in record.counted}
    counted: dict[str, Instant] = {}
    for name in sorted(hosts):
        entered = before.get(name)
        if _counts(hosts[name], entered, record.held, policy, now):
            # The window runs from the last look that condemned the host, which is the one that ordered its fence.
            # An instant of another boot cannot be compared any more: the window begins anew.
            lasts = entered is not None and now.since(entered) is not None and not hosts[name].condemned
            counted[name] = entered if lasts and entered is not None else now
    released = tuple(name for name in record.released if name in counted)
    left = {name for name, host in hosts.items() if name in counted or not (host.fenced or host.maintenance or host.proved_off)}
    population = left - set(released)
    against = [name for name in counted if name not in released]
    fenced_already = all(hosts[name].fenced for name in against)
    held = len(against) > policy.max_dead_fraction * len(population) and not fenced_already
    text = ""
    if held:
        text = (
            "%d of %d hosts lost within %.0f s (%s), more than %.0f %%: fences are held until enough of them answer again, "
            "are proved off, or a person releases the brake"
        ) % (
            len(against),
            len(population),
            policy.brake_window,
            ", ".join(against),
            policy.max_dead_fraction * 100,
        )
    since = (record.since if record.held and record.since is not None else now) if held else None
    keep = BrakeRecord(
        counted=tuple(Condemned(name, at) for name, at in sorted(counted.items())),
        held=held,
        since=since,
        released=released,
        released_by=record.released_by if released else "",
    )
    return Brake(keep, held, text, released)


def _counts(host: HostForBrake, entered: Optional[Instant], held: bool, policy: Policy, now: Instant) -> bool:
    if entered is None:
        return host.condemned and not (host.fenced or host.maintenance or host.proved_off)
    age = now.since(entered)
    recent = age is None or age <= policy.brake_window
    if host.fenced:  # also when it is off by now: that may be our own doing
        return recent
    if host.answers or host.maintenance or host.proved_off:
        return False
    return host.condemned or held or recent
