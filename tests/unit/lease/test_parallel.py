"""No look waits for another, and none for ever."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LeaseLost, LibrehaError, StaleToken, as_outcome
from ansible_collections.libreha.vmware.plugins.module_utils.parallel import Late, Raised, StillWaiting, Workers, in_parallel


def test_all_looks_run_at_the_same_time() -> None:
    together = threading.Barrier(20, timeout=30)  # breaks unless all twenty are there at once
    outcomes = in_parallel(dict.fromkeys(range(20), together.wait), 30)
    assert sorted(outcomes.values()) == list(range(20))


def test_a_look_that_hangs_is_left_behind_and_the_others_are_kept() -> None:
    forever = threading.Event()
    began = clock.now().seconds
    try:
        outcomes = in_parallel({"hangs": forever.wait, "answers": lambda: "here"}, 0.3)
    finally:
        forever.set()
    assert isinstance(outcomes["hangs"], Late)
    assert outcomes["answers"] == "here"
    assert clock.now().seconds - began < 10  # a hang guard


def test_a_look_that_raises_does_not_disturb_the_others() -> None:
    outcomes = in_parallel({"raises": lambda: 1 // 0, "answers": lambda: 1}, 30)
    assert isinstance(outcomes["raises"], Raised)
    assert isinstance(outcomes["raises"].error, ZeroDivisionError)
    assert outcomes["answers"] == 1


def test_no_looks_are_done_at_once() -> None:
    assert in_parallel({}, 30) == {}


def raises(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [LeaseLost("run out"), StaleToken("another run has acted"), KeyboardInterrupt()])
def test_what_is_not_about_one_host_ends_all(error: BaseException) -> None:
    with pytest.raises(type(error)):
        in_parallel({"answers": lambda: None, "raises": lambda: raises(error)}, 30)
    with pytest.raises(type(error)):
        as_outcome(error, "reading", "esx1")


def test_what_nobody_foresaw_is_told_with_class_text_and_place() -> None:
    (outcome,) = in_parallel({"esx1": lambda: {}["moid"]}, 30).values()
    assert isinstance(outcome, Raised)
    told = as_outcome(outcome.error, "reading the VMs", "esx1")
    assert str(told).startswith("esx1: reading the VMs: unexpected KeyError: 'moid' (test_parallel.py:")
    foreseen = LibrehaError("no answer", host="esx1")
    assert as_outcome(foreseen, "reading the VMs", "esx1") is foreseen


def test_what_has_not_come_back_is_not_asked_beside_itself_and_its_late_answer_is_nobodys() -> None:
    goes_on, asked = threading.Event(), []

    def slow() -> str:
        asked.append("slow")
        goes_on.wait(30)
        return "of the first round"

    workers = Workers()
    assert isinstance(workers.ask({"esx1": slow}, 0.2)["esx1"], Late)
    for _round in range(3):
        outcomes = workers.ask({"esx1": slow, "esx2": lambda: "here"}, 0.2)
        assert outcomes["esx2"] == "here"
        assert isinstance(outcomes["esx1"], Raised) and isinstance(outcomes["esx1"].error, StillWaiting)
    assert asked == ["slow"]
    goes_on.set()
    end = clock.now().seconds + 30
    while isinstance(workers.ask({"esx1": lambda: "anew"}, 5)["esx1"], Raised):
        assert clock.now().seconds < end
    assert workers.ask({"esx1": lambda: "anew"}, 5) == {"esx1": "anew"}
