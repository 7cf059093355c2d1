# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Let a fenced host write again: only after a fresh start.

Why a fresh start. Measured on LIO and tgt: an initiator that was frozen or cut off keeps the writes that it could not
deliver and delivers them as soon as it is admitted, into disks that another host has been writing since. Only a start
of the host *after* the fence makes those writes impossible. So one of these is needed (docs/safety.md, "Unfence"):

* the host's uptime is shorter than the time since the fence, by a margin, on the storage server's boot-time clock;
* if that cannot be compared, because the storage server itself was restarted since: its BMC switched it off and on;
* a person who says so by the host's name and with a reason.

And never, forced or not, while one of its VMs is recorded as running there: that VM is started elsewhere or may be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..decide.hosts.fresh_start import MARGIN, started_since
from ..errors import LibrehaError
from ..instant import Instant
from .fence_list import Entry, Fences
from .fencing import Fencer, Outcome, Steps


@dataclass(frozen=True)
class FreshStart:
    """What speaks for a fresh start.

    Args:
        uptime: Seconds since the host started, as the host says, at the time of the reading.
        age: Seconds since that reading. An old reading proves nothing: the host has been running since.
        power_cycled: Its BMC was asked to switch it off and on, and two reads said off, in this very run.
        force: The name of the host, written by the person who takes the responsibility.
        reason: Why, by that person.
    """

    uptime: float | None = None
    age: float | None = None
    power_cycled: bool = False
    force: str = ""
    reason: str = ""

    def lacking(self, entry: Entry, now: Instant, margin: float = MARGIN) -> str:
        """ "" when it proves a start after *entry*'s fence, otherwise what is lacking."""
        if self.force:
            if self.force != entry.host:
                return "force names %s, not this host" % self.force
            return "" if self.reason.strip() else "force needs a reason"
        if self.power_cycled:
            return ""
        if self.uptime is None:
            return "nothing tells that the host was started after it was fenced"
        if self.age is None or self.age < 0:
            return "it is not known how old the reading of the uptime is"
        since = now.since(entry.at)
        if since is None:
            return "this storage server was itself restarted since the fence, so the host's uptime cannot be compared with it"
        running = self.uptime + self.age
        if started_since(running, since, margin):
            return ""
        return (
            "the host has been running for %.0f s, the fence is %.0f s old (a margin of %.0f s is needed): it was not restarted since"
            % (
                running,
                since,
                margin,
            )
        )


def unfence(
    fencer: Fencer,
    host: str,
    initiators: Iterable[str],
    token: int,
    start: FreshStart,
    *,
    running_vms: Iterable[str] = (),
    chap_secret: str | None = None,
    margin: float = MARGIN,
    check_mode: bool = False,
) -> Outcome:
    """Admit *host* again in exactly the targets that its right was taken from, then take it off the fence list.

    In this order: a run that is killed in between leaves a fenced host admitted, which the next observation sees
    and fences again; the other way round would forget which targets it belonged to. *initiators* limits it to those;
    empty means all of the host. A host that was let in already is a success that changes nothing.
    Raises LibrehaError when it is refused; then nothing was changed.
    """
    outcome = Outcome(token=token)
    steps = Steps(outcome, fencer.now)
    wanted = {initiator.casefold() for initiator in initiators}
    fencer.target.require_fenceable()
    with fencer.permit, fencer.fence_list.locked(fencer.permit):
        fences = fencer.fence_list.read()
        fences.require(token, host, "unfence")
        entries = [entry for entry in fences.of_host(host) if not wanted or entry.initiator.casefold() in wanted]
        _refuse_foreign(host, wanted, fences.entries)
        _refuse_unknown(host, wanted, fences)
        vms = sorted(running_vms)
        if entries and vms:
            raise LibrehaError(
                "not unfenced: recorded as running on it: %s" % ", ".join(vms),
                host=host,
                remedy="they were, or may be, started elsewhere: finish their failover first; this cannot be forced",
            )
        for entry in entries:
            lacking = start.lacking(entry, fencer.now(), margin)
            if lacking:
                raise LibrehaError(
                    "not unfenced: %s" % lacking,
                    host=host,
                    remedy="restart the host and run this again; or power-cycle it through its BMC; or, taking the responsibility that "
                    "it was restarted, give its name to force, with a reason",
                )
        outcome.changed = bool(entries)
        outcome.initiators = [entry.initiator for entry in entries]
        if check_mode or not entries:
            return outcome
        for entry in entries:
            fencer.permit.check("admit %s" % entry.initiator)
            outcome.chap_renewed |= fencer.target.has_own_secret(entry.initiator, entry.targets)
            changed = fencer.target.admit(entry.initiator, entry.targets, chap_secret, entry.spellings)
            spellings = {"spellings": list(entry.spellings)} if set(entry.spellings) - {entry.initiator} else {}
            steps.add("admitted", changed, initiator=entry.initiator, targets=list(entry.targets), **spellings)
        fencer.permit.check("take %s off the fence list" % host)
        fencer.fence_list.write(fences.with_token(token).without(entry.initiator for entry in entries))
        steps.add("fence list durable", True)
    return outcome


def _refuse_foreign(host: str, wanted: set[str], entries: Iterable[Entry]) -> None:
    for entry in entries:
        if entry.initiator.casefold() in wanted and entry.host != host:
            raise LibrehaError(
                "%s is in the fence list as an initiator of host %s" % (entry.initiator, entry.host),
                host=host,
                remedy="unfence that host, or correct the inventory",
            )


def _refuse_unknown(host: str, wanted: set[str], fences: Fences) -> None:
    """A name that was never fenced here is most likely a wrong one, and the host that is meant would stay out unnoticed."""
    unknown = [name for name in sorted(wanted) if not fences.knows(host, name)]
    if fences.knows(host) and not unknown:
        return
    fenced = sorted({entry.host for entry in fences.entries})
    raise LibrehaError(
        "not unfenced: %s was never fenced on this storage server; fenced are: %s"
        % ("initiator %s of this host" % ", ".join(unknown) if fences.knows(host) else "this host", ", ".join(fenced) or "none"),
        host=host,
        remedy="correct the name; a host that was never fenced needs no unfence",
    )
