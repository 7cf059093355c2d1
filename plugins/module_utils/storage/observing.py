# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One look at a storage server, as decide wants it. A target that is down is a result here, not an error."""

from __future__ import annotations

import dataclasses
from typing import Callable

from .. import clock
from ..decide.observations import Session, StorageObservation, TargetAccess
from ..errors import LibrehaError
from ..instant import Instant
from ..stall_detector import StallDetector
from .fence_list import FenceList
from .fencing import observe_fences
from .interface import StorageTarget
from .verification import INTERVAL


def observe_storage(
    name: str,
    target: StorageTarget,
    fence_list: FenceList,
    *,
    now: Callable[[], Instant] = clock.now,
    interval: float = INTERVAL,
) -> StorageObservation:
    """Look at the target and the fence list of storage server *name*.

    ``access`` is who is admitted now, or will be at the next start: a target whose saved configuration admits
    anybody, or cannot be read, counts as one that admits anybody; one that will be unfenceable is unfenceable. Raises LibrehaError when the
    fence list cannot be understood: without it nobody knows which hosts must not write, and no run may go on as if there were none.
    """
    reasons: list[str] = []
    taken_at = now()
    serving: bool | None = None
    up_for: float | None = None
    sessions: tuple[Session, ...] | None = None
    access: tuple[TargetAccess, ...] = ()
    try:
        up_for = target.up_for()
        serving = up_for is not None
        access = _with_saved(target.access(), target)
        with StallDetector() as stall_detector:
            taken_at = now()
            found = tuple(target.sessions())
            delay = stall_detector.reason
        # Nobody knows when counters were read that this machine was kept from looking at.
        sessions = None if delay else found
        reasons += [delay] if delay else []
    except LibrehaError as error:
        reasons.append(str(error))
    highest_token, fences = observe_fences(target, fence_list, interval=interval)
    return StorageObservation(
        name=name,
        taken_at=taken_at,
        driver=target.driver,
        serving=serving,
        reason="; ".join(reasons),
        up_for=up_for,
        sessions=sessions,
        access=access,
        fences=fences,
        highest_token=highest_token,
    )


def _with_saved(running: list[TargetAccess], target: StorageTarget) -> tuple[TargetAccess, ...]:
    """Who is admitted at run time, or by the saved configuration of the same target after the next start."""
    unknown = ""
    later: dict[str, TargetAccess] = {}
    try:
        later = {saved.target: saved for saved in target.saved_access()}
    except LibrehaError as error:
        unknown = "who is admitted after the next start cannot be told: %s" % error
    found = []
    for access in running:
        saved = later.get(access.target)
        reason = unknown or (saved.reason if saved is not None and saved.anybody else "")
        if not access.anybody and reason:
            access = dataclasses.replace(access, anybody=True, reason=reason)
        if saved is not None and saved.unfenceable and not access.unfenceable:
            access = dataclasses.replace(access, unfenceable="after the next start: %s" % saved.unfenceable)
        found.append(access)
    return tuple(found)
