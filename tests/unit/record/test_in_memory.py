# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The database in memory that the simulator runs on: the same transactions as a file's, on a clock of the caller's."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.journal import JournalEntry


class Clock:
    seconds = 1000.0

    def now(self):
        return Instant("boot", self.seconds, "2026-01-01T00:00:%06.3f+00:00" % (self.seconds % 60))

    def sleep(self, seconds):
        self.seconds += seconds


def test_a_lease_in_memory_ends_by_the_callers_clock_and_nothing_is_written_after():
    clock = Clock()
    with StateDatabase.in_memory(clock.now, clock.sleep) as database:
        lease = database.acquire_lease("run", 30)
        database.journal([JournalEntry("note", "inside the lease")], lease.token)
        clock.sleep(31)
        with pytest.raises(LeaseLost):
            database.journal([JournalEntry("note", "after it")], lease.token)
        assert "inside the lease" in [entry["text"] for entry in database.read_journal()]
        assert "after it" not in [entry["text"] for entry in database.read_journal()]


def test_two_in_memory_share_nothing():
    clock = Clock()
    with StateDatabase.in_memory(clock.now, clock.sleep) as one, StateDatabase.in_memory(clock.now, clock.sleep) as other:
        one.acquire_lease("run", 30)
        assert other.acquire_lease("another run", 30).holder == "another run"
