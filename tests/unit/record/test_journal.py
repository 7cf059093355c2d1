# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The journal and the alarms in it."""

from __future__ import annotations

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Alarm, Severity
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import JournalEntry, StateDatabase


@pytest.fixture
def state(url, clock):
    with StateDatabase.open(url, clock=clock) as database:
        yield database


@pytest.fixture
def token(state):
    return state.acquire_lease("run", 86400).token


def alarm(text: str = "esx1: no answer for 12 s", severity: Severity = Severity.WARNING, key: str = "api:esx1") -> Alarm:
    return Alarm(key, severity, "esx1", text)


def alarm_entries(state) -> list[tuple[str, str]]:
    return [(entry["data"]["alarm"], entry["text"]) for entry in state.read_journal(kinds=["alarm"])]


def test_an_entry_is_read_back_with_who_when_and_why(state, token, clock):
    entry = JournalEntry("verdict", "esx1 dead: api timed out", subject="esx1", data={"row": 9})
    (seq,) = state.journal([entry], token)
    (found,) = state.read_journal(since=seq - 1)
    assert found == {
        "seq": seq, "token": token, "holder": "run", "kind": "verdict", "subject": "esx1", "key": "",
        "text": "esx1 dead: api timed out", "data": {"row": 9}, "at": clock().to_dict(), "wall": clock.wall,
    }  # fmt: skip


def test_text_that_a_database_cannot_hold_does_not_lose_the_entry(state, token):
    state.journal([{"kind": "held", "text": "NUL \x00 and a lone surrogate \udc80", "data": {"raw": "\x00\udc80"}}], token)
    entry = state.read_journal(kinds=["held"])[0]
    assert entry["text"].startswith("NUL ") and entry["data"] == {"raw": "\x00\udc80"}


def test_filters_choose_entries_and_the_limit_takes_the_last_ones_or_the_next_ones(state, token):
    entries = [{"kind": "fence" if n % 2 else "step", "subject": "esx%d" % (n % 3), "text": str(n)} for n in range(12)]
    seqs = state.journal(entries, token)

    def texts(**filters) -> list[str]:
        return [entry["text"] for entry in state.read_journal(**filters)]

    assert texts(kinds=["fence"], limit=2) == ["9", "11"]
    assert texts(since=seqs[3], limit=3) == ["4", "5", "6"]
    assert texts(subject="esx0", kinds=["step", "fence"]) == ["0", "3", "6", "9"]
    assert texts(since=seqs[-1]) == []


def test_a_person_may_write_without_a_lease_and_nobody_else(state, token):
    (seq,) = state.journal([{"kind": "person", "text": "esx1 is off, I pulled the plug"}], None, holder="Ada")
    entry = state.read_journal(since=seq - 1)[0]
    assert (entry["holder"], entry["kind"]) == ("Ada", "person")
    for kind, holder in (("step", "Ada"), ("person", "")):
        with pytest.raises(LibrehaError, match="named person"):
            state.journal([{"kind": kind, "text": "x"}], None, holder=holder)


@pytest.mark.parametrize("bad", [{}, {"kind": "step"}, {"kind": "step", "text": ""}, {"kind": "step", "text": "x", "colour": "red"}])
def test_an_entry_that_says_nothing_is_refused(state, token, bad):
    with pytest.raises(LibrehaError, match="journal entry"):
        state.journal([bad], token)


def test_an_alarm_is_journaled_when_raised_and_when_cleared_and_not_at_each_look(state, token, clock):
    assert state.journal_alarms([alarm()], token).raised == ("api:esx1",)
    for look in range(1, 5):
        clock.seconds += 10
        assert state.journal_alarms([alarm("esx1: no answer for %d s" % (12 + 10 * look))], token).journaled == ()
    assert [found["key"] for found in state.alarms()] == ["api:esx1"]
    assert state.journal_alarms([], token).cleared == ("api:esx1",)
    assert [what for what, _text in alarm_entries(state)] == ["raised", "cleared"]
    assert state.alarms() == []
    assert state.journal_alarms([], token).journaled == ()


def test_an_alarm_that_lasts_is_journaled_again_every_hour_with_its_beginning(state, token, clock):
    began = clock().to_dict()
    state.journal_alarms([alarm()], token)
    for _look in range(7):
        clock.seconds += 1200
        state.journal_alarms([alarm()], token)
    assert [what for what, _text in alarm_entries(state)] == ["raised", "repeated", "repeated"]
    assert state.read_journal(kinds=["alarm"])[-1]["data"]["since"] == began
    assert state.alarms()[0]["since"] == began


@pytest.mark.parametrize("other", [alarm("esx1: login refused"), alarm(severity=Severity.CRITICAL)])
def test_an_alarm_whose_condition_changes_is_journaled(state, token, other):
    state.journal_alarms([alarm()], token)
    assert state.journal_alarms([other], token).changed == ("api:esx1",)
    assert state.alarms()[0]["data"]["severity"] == other.severity.value


def test_names_with_numbers_are_not_taken_for_counters(state, token):
    state.journal_alarms([alarm("vm01 cannot be placed on esx2 (10.0.0.2)")], token)
    assert state.journal_alarms([alarm("vm01 cannot be placed on esx3 (10.0.0.2)")], token).changed
    assert state.journal_alarms([alarm("vm01 cannot be placed on esx3 (10.0.0.3)")], token).changed


def test_each_alarm_is_followed_by_its_own_key(state, token):
    state.journal_alarms([alarm(), alarm(key="api:esx2")], token)
    changes = state.journal_alarms(
        [{"key": "api:esx2", "subject": "esx1", "text": "esx1: no answer for 12 s", "severity": "warning"}], token
    )
    assert (changes.cleared, changes.lasting) == (("api:esx1",), ("api:esx2",))


def test_an_alarm_without_a_key_is_refused(state, token):
    with pytest.raises(LibrehaError, match="key"):
        state.journal_alarms([{"text": "x"}], token)
