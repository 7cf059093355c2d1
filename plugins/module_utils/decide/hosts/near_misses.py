# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Suspicions that ended without a fence: what ``confirm_after`` is to be judged by.

What counts is the silence that would have confirmed it (``silence``): that of the path which fell silent last. It may be longer than a
fence needs, where the fence was held.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from ..decision import NearMiss
from ..memory import HostRecord, Memory
from ..policy import Policy
from ..state import HostState
from ..verdict import Verdict
from .confirm import needed_for


def near_misses(before: Memory, hosts: Iterable[HostState], policy: Policy) -> tuple[NearMiss, ...]:
    """Those that end with this look; *before* is the memory of the look before."""
    found = (_near_miss(before.host(host.name), host, policy) for host in hosts)
    return tuple(miss for miss in found if miss is not None)


def _near_miss(was: HostRecord, host: HostState, policy: Policy) -> Optional[NearMiss]:
    if not was.condemned or host.record.condemned or not host.verdict.works:
        return None
    silent = [(item.last.since(item.since), item.path) for item in was.silences if item.last is not None]
    if not silent:
        return None
    lasted = min(seconds or 0.0 for seconds, _path in silent)
    needed = needed_for(was, policy)
    enough = lasted * policy.confirm_after / needed
    return NearMiss(host.name, Verdict(was.verdict), lasted, needed, enough, tuple(path for _seconds, path in silent))
