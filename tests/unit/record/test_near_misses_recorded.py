"""Near misses out of the journal, and what they say of confirm_after."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import NearMiss
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import to_dict
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict
from ansible_collections.libreha.vmware.plugins.module_utils.record import near_misses
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.journal import JournalEntry


def miss(silent: float, needed: float = 15.0, host: str = "esx1") -> NearMiss:
    return NearMiss(host, Verdict.DEAD, silent, needed, silent * 15 / needed, ("api", "ping"))


def test_what_the_journal_has_comes_back_and_is_summed_up_by_how_close_it_was(tmp_path: Path) -> None:
    with StateDatabase.open("sqlite:///%s" % (tmp_path / "state.db")) as database:
        assert near_misses.summary(near_misses.read(database)) == []
        token = database.acquire_lease("run", 60).token
        given = [miss(9.0), miss(20.0, needed=60.0, host="esx2"), miss(18.0, host="esx3")]
        database.journal([JournalEntry(near_misses.NEAR_MISS, one.text, one.host, data=to_dict(one)) for one in given], token)
        database.journal([JournalEntry(near_misses.NEAR_MISS, "a person wrote this", data={"host": 1})], token)
        found = near_misses.read(database)
    assert [item.miss for item in found] == given
    first, *lines, last = near_misses.summary(found)
    assert first == "3 near misses in 30 days; the longest silence was 18.0 of 15 s (esx3)"
    assert [line[21:] for line in lines] == [given[2].text, given[0].text, given[1].text]
    assert last == "with a confirm_after of 9.0 s or less at least one of them would have been a fence"


def test_many_are_counted_and_the_closest_shown() -> None:
    found = [near_misses.PastMiss("2026-11-29T06:00:00.000+00:00", miss(number)) for number in range(1, 9)]
    lines = near_misses.summary(found)
    assert lines[0].startswith("8 near misses") and lines[1] == "2026-11-29 06:00:00Z %s" % miss(8).text
    assert "and 3 more: libreha journal --kind near_miss" in lines
