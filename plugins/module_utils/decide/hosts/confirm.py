# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a verdict may be acted upon.

Invariant: no fence follows from less than ``confirm_after`` of silence on every path that the verdict calls failed, counted from the
last sign of life on any of them and heard by at least three probes of each, the first and the last at least half that time apart, all
made by this very run on one boot's clock (``silence``). Power that is proved off is the exception: no later look can contradict it.

A verdict that leads to no fence is confirmed by lasting as it is, in at least three fresh samples without a gap longer than
``confirm_after``: that ends a run, and raises an alarm.

Flapping - a suspicion that passes, again and again - doubles the time with every turn up to eight times, and is
forgotten after twenty confirmation times without one.
"""

from __future__ import annotations

from ...instant import Instant
from ..evidence import HostEvidence
from ..memory import HostRecord
from ..policy import Policy
from ..replacing import replace
from ..state import Confirmation
from ..verdict import Judgement
from .silence import PROBES, Quiet, listen, quiet

SAMPLES = 3
LONGEST = 8  # times confirm_after
FORGET = 20  # times confirm_after


def confirm(
    record: HostRecord, evidence: HostEvidence, judgement: Judgement, condemned: bool, same_run: bool, policy: Policy, now: Instant
) -> Confirmation:
    """Count this look; *condemned* says that the verdict would lead to a fence. One that would not is confirmed by lasting as it is."""
    taken = evidence.taken_at
    needed = needed_for(record, policy)
    if taken is None or not evidence.fresh:
        return Confirmation(record, False, 0.0, needed, "the look is not fresh")
    gap = taken.since(record.last_sample)
    if same_run and gap is not None and gap <= 0:
        return Confirmation(record, False, 0.0, needed, "the same look again")
    continues = same_run and record.verdict == judgement.verdict.value and gap is not None and 0 < gap <= policy.confirm_after
    record = _flap(record, evidence, judgement, condemned, policy)
    needed = needed_for(record, policy)
    since = record.since if continues and record.since is not None else taken
    record = replace(
        record,
        verdict=judgement.verdict.value,
        since=since,
        samples=record.samples + 1 if continues else 1,
        last_sample=taken,
        condemned=condemned or (record.condemned and not judgement.verdict.works),
        silences=listen(record.silences if same_run else (), evidence, now, policy),
    )
    lasted = taken.since(since) or 0.0
    if judgement.certain:
        return Confirmation(record, True, lasted, 0.0)
    if condemned:
        return _by_silence(record, quiet(record.silences, evidence), needed, policy)
    if record.samples >= SAMPLES and lasted >= needed:
        return Confirmation(record, True, lasted, needed)
    waiting = "%.0f of %.0f s, %d samples of at least %d" % (lasted, needed, record.samples, SAMPLES)
    return Confirmation(record, False, lasted, needed, waiting)


def _by_silence(record: HostRecord, silence: Quiet, needed: float, policy: Policy) -> Confirmation:
    if silence.lasted >= needed and silence.probes >= PROBES and silence.spread >= policy.confirm_after / 2:
        return Confirmation(record, True, silence.lasted, needed)
    waiting = "silent for %.0f of %.0f s, %d probes of at least %d" % (silence.lasted, needed, silence.probes, PROBES)
    return Confirmation(record, False, silence.lasted, needed, waiting)


def needed_for(record: HostRecord, policy: Policy) -> float:
    """Seconds that a verdict about this host must last; the first suspicion that passes is no flapping yet."""
    doublings = min(max(record.flaps - 1, 0), LONGEST.bit_length())
    return policy.confirm_after * min(1 << doublings, LONGEST)


def _flap(record: HostRecord, evidence: HostEvidence, judgement: Judgement, condemned: bool, policy: Policy) -> HostRecord:
    taken = evidence.taken_at
    if record.condemned and judgement.verdict.works and not condemned:
        return replace(record, flaps=record.flaps + 1, last_flap=taken)
    if record.flaps and taken is not None and not condemned:
        quiet = taken.since(record.last_flap)
        if quiet is None:  # another clock: the quiet time begins to count anew
            return replace(record, last_flap=taken)
        if quiet > FORGET * policy.confirm_after:
            return replace(record, flaps=0, last_flap=None)
    return record
