"""What a confirmed fence needs, from readings."""

from __future__ import annotations

from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import TargetAccess
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.storage.fence_list import Entry, Fences
from ansible_collections.libreha.vmware.plugins.module_utils.storage.verification import Reading

ESX1 = "iqn.1998-01.com.vmware:esx1"
FENCES = Fences(7, (Entry("esx1", ESX1, 7, Instant("boot", 1.0)),))


def reading(running: TargetAccess, saved: TargetAccess) -> Reading:
    return Reading(fences=FENCES, access=[running], saved=[saved])


def test_nobody_admitted_and_no_session_is_confirmed() -> None:
    assert reading(TargetAccess("t"), TargetAccess("t")).missing(ESX1) == []


def test_a_target_at_which_a_fence_proves_nothing_confirms_none() -> None:
    """Neither one that runs nor one that the next start makes of it."""
    for where in (
        (TargetAccess("t", unfenceable="tgt 1.0.80"), TargetAccess("t")),
        (TargetAccess("t"), TargetAccess("t", unfenceable="tgt 1.0.80")),
    ):
        assert reading(*where).missing(ESX1) == ["a fence at target t proves nothing: tgt 1.0.80"]
        assert reading(*where).admitting(ESX1) == []


def test_every_spelling_of_a_name_is_that_initiator() -> None:
    spelled = ESX1.replace("esx1", "ESX1")
    seen = reading(TargetAccess("t", (spelled,)), TargetAccess("t", (ESX1,)))
    assert seen.missing(ESX1) and seen.spellings(ESX1) == (spelled, ESX1)
