"""A move that stops its VM asks the guest, and switches nothing off unless a person named that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.act import failover_run
from ansible_collections.libreha.vmware.plugins.module_utils.act.vm_failover import undone_of
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Way

Make = Callable[[str], Any]


def moved(bench: Any, esx1: Any, esx2: Any, way: Way) -> Any:
    return bench.start({"web1": "esx2"}, source={"web1": "esx1"}, way=way, esx1=esx1.port, esx2=esx2.port)


def test_a_guest_that_listens_is_shut_down_and_starts_at_the_destination(bench: Any, new_esx: Make) -> None:
    esx1, esx2 = new_esx("esx1").with_guest("web1", on=True, tools=True), new_esx("esx2")
    assert undone_of(moved(bench, esx1, esx2, Way.COLD)) == []
    assert (esx1.guests, [guest.on for guest in esx2.guests], esx1.sent("PowerOffVM_Task")) == ([], [True], 0)


@pytest.mark.parametrize(("tools", "asked", "words"), [(False, 0, "hears no shutdown"), (True, 1, "did not shut down within 0.5 s")])
def test_one_that_does_not_go_down_runs_on_where_it_is(
    bench: Any, new_esx: Make, monkeypatch: pytest.MonkeyPatch, tools: bool, asked: int, words: str
) -> None:
    monkeypatch.setattr(failover_run, "GUEST_TIMEOUT", 0.5)
    esx1, esx2 = new_esx("esx1").with_guest("web1", on=True, tools=tools, hears=False), new_esx("esx2")
    (undone,) = undone_of(moved(bench, esx1, esx2, Way.COLD))
    assert words in undone and "way: power_off switches it off" in undone
    assert (esx1.guests[0].on, esx2.guests, esx1.sent("PowerOffVM_Task"), esx1.sent("ShutdownGuest")) == (True, [], 0, asked)
    assert bench.ends() == {"web1": "failed"}


def test_it_is_switched_off_unasked_by_the_way_that_says_so(bench: Any, new_esx: Make) -> None:
    esx1, esx2 = new_esx("esx1").with_guest("web1", on=True, tools=True, hears=False), new_esx("esx2")
    assert undone_of(moved(bench, esx1, esx2, Way.POWER_OFF)) == []
    assert (esx1.guests, [guest.on for guest in esx2.guests], esx1.sent("ShutdownGuest")) == ([], [True], 0)
