"""The table of docs/safety.md, row for row: every combination of evidence has exactly one verdict, the first row that matches.

The expected rows are written out below by hand and share nothing with the code.
"""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import Evidence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.hosts.verdict import TABLE, Facts, judge, observer_isolated
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import Power
from ansible_collections.libreha.vmware.plugins.module_utils.decide.verdict import Verdict

LETTERS = {"o": Evidence.OK, "f": Evidence.FAILED, "u": Evidence.UNKNOWN}

# One line for each api and storage, three columns for ping ok, failed, unknown. Power is on or unknown.
# "6/7": row 6 if the host says that the datastore is inaccessible, else row 7.
NOT_OFF = """
api storage | o   f   u
o   o       | 4   4   4
o   f       | 6/7 6/7 6/7
o   u       | 5   5   5
f   o       | 10  11  12
f   f       | 8   9   9
f   u       | 12  12  12
u   o       | 12  12  12
u   f       | 12  12  12
u   u       | 12  12  12
"""

# The BMC says off: whatever the API says, any sign of activity on the network or at the target contradicts it.
OFF = """
storage | o   f   u
o       | 3   3   3
f       | 3   2   2
u       | 3   2   2
"""

VERDICTS = {
    1: "observer_isolated",
    2: "dead",
    3: "unknown",
    4: "healthy",
    5: "healthy",
    6: "storage_lost",
    7: "unknown",
    8: "dead",
    9: "dead",
    10: "agent_hung",
    11: "isolated",
    12: "unknown",
}


def read(table: str) -> dict[tuple[str, ...], str]:
    cells = {}
    for line in table.strip().splitlines()[1:]:
        keys, rows = line.split("|")
        for ping, row in zip("ofu", rows.split(), strict=True):
            cells[(*keys.split(), ping)] = row
    return cells


COMBINATIONS = list(itertools.product("ofu", "ofu", "ofu", (Power.ON, Power.OFF, Power.UNKNOWN), (False, True), (True, False, None)))


@pytest.mark.parametrize(("api", "ping", "storage", "power", "cut_off", "accessible"), COMBINATIONS)
def test_every_combination_has_the_row_of_the_table(
    api: str, ping: str, storage: str, power: Power, cut_off: bool, accessible: bool | None
) -> None:
    if cut_off:
        expected = "1"
    elif power is Power.OFF:
        expected = read(OFF)[(storage, ping)]
    else:
        expected = read(NOT_OFF)[(api, storage, ping)]
    if expected == "6/7":
        expected = "6" if accessible is False else "7"
    judgement = judge(LETTERS[api], LETTERS[ping], LETTERS[storage], power, cut_off, accessible)
    assert (judgement.row, judgement.verdict.value) == (int(expected), VERDICTS[int(expected)])
    assert judgement.certain == (judgement.row == 2)
    assert judgement.reason


def test_all_81_combinations_are_enumerated_and_the_last_row_catches_the_rest() -> None:
    assert len({combination[:4] for combination in COMBINATIONS}) == 81
    assert [row.number for row in TABLE] == list(range(1, 13))
    assert all(
        TABLE[-1].matches(Facts(LETTERS[a], LETTERS[b], LETTERS[c], power, cut_off, accessible))
        for a, b, c, power, cut_off, accessible in COMBINATIONS
    )


def test_every_row_can_be_reached() -> None:
    reached = {judge(LETTERS[a], LETTERS[b], LETTERS[c], *rest).row for a, b, c, *rest in COMBINATIONS}
    assert reached == set(range(1, 13))


def test_only_proved_power_or_failed_storage_make_a_host_dead() -> None:
    for api, ping, storage, power, cut_off, accessible in COMBINATIONS:
        judgement = judge(LETTERS[api], LETTERS[ping], LETTERS[storage], power, cut_off, accessible)
        if judgement.verdict in (Verdict.DEAD, Verdict.STORAGE_LOST):
            assert storage == "f" or (power is Power.OFF and storage != "o")


def test_nothing_is_done_to_a_host_whose_api_could_not_be_asked_unless_its_power_is_proved_off() -> None:
    for _api, ping, storage, power, _cut_off, accessible in COMBINATIONS:
        judgement = judge(Evidence.UNKNOWN, LETTERS[ping], LETTERS[storage], power, False, accessible)
        assert judgement.verdict is Verdict.UNKNOWN or (power is Power.OFF and judgement.certain)


def test_the_observer_is_isolated_only_if_nobody_at_all_answers_it() -> None:
    assert observer_isolated((), (False, False))
    assert observer_isolated((False,), (False, False))
    assert not observer_isolated((True,), (False, False))
    assert not observer_isolated((False,), (False, True))
    assert not observer_isolated((), ())
