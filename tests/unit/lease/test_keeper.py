"""The lease keeper: a real lease in a real database, on a clock that is set by hand; of the deadman only what it is told to do."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.lease.deadman import Deadman
from ansible_collections.libreha.vmware.plugins.module_utils.lease.keeper import LeaseKeeper
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase

LEASE = 60.0


class Scene(Deadman):
    """One run with a keeper. It is its own deadman, which notes when the process would end."""

    def __init__(self) -> None:
        super().__init__()
        self.boot, self.seconds = "boot", 1000.0
        self.ends_at = 0.0
        self.database = StateDatabase.in_memory(self.now, self.sleep)
        token = self.database.acquire_lease("run", LEASE).token
        self.keeper = LeaseKeeper(self.database, "run", token, LEASE, self.now, self)

    def now(self) -> Instant:
        return Instant(self.boot, self.seconds)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def arm(self, seconds: float) -> None:
        self.ends_at = self.seconds + seconds


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_no_request_is_sent_in_the_last_sixth_of_a_lease(scene: Scene) -> None:
    scene.sleep(LEASE * 5 / 6 - 1)
    scene.keeper.guard()
    scene.sleep(2)
    with pytest.raises(LeaseLost, match="has run out"):
        scene.keeper.guard()


def test_nothing_is_sent_when_the_clock_cannot_be_compared(scene: Scene) -> None:
    scene.boot = "another"
    with pytest.raises(LeaseLost):
        scene.keeper.guard()


def test_the_lease_is_renewed_when_a_third_of_it_is_over_and_not_before(scene: Scene) -> None:
    scene.sleep(LEASE / 3 - 1)
    scene.keeper.keep()
    assert scene.database.lease()["remaining"] == LEASE * 2 / 3 + 1
    scene.sleep(2)
    scene.keeper.keep()
    assert scene.database.lease()["remaining"] == LEASE
    scene.sleep(LEASE * 5 / 6 - 1)
    scene.keeper.guard()


def test_the_deadman_ends_the_process_with_the_lease_as_it_was_renewed_last(scene: Scene) -> None:
    assert scene.ends_at == 1000.0 + LEASE
    scene.sleep(LEASE / 2)
    scene.keeper.keep()
    assert scene.ends_at == 1000.0 + LEASE * 3 / 2


def test_a_lease_that_another_run_took_is_not_renewed_and_the_deadman_stands(scene: Scene) -> None:
    ends_at = scene.ends_at
    scene.sleep(LEASE + 1)
    scene.database.acquire_lease("another run", LEASE)
    with pytest.raises(LeaseLost):
        scene.keeper.keep()
    assert scene.ends_at == ends_at
    with pytest.raises(LeaseLost):
        scene.keeper.guard()
