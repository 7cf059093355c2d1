"""The resident monitor steps down for a run that a person began: the asker's side, the module ``ha_state``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry import ha_state
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.module_utils.record.lease import Lease, LeaseHeld
from socket_server import serving

HELD = 60.0  # s


@pytest.fixture
def database(tmp_path: Path) -> Iterator[StateDatabase]:
    with StateDatabase.open("sqlite:///%s" % (tmp_path / "state.db")) as opened:
        yield opened


@pytest.fixture
def lease(database: StateDatabase) -> Lease:
    """The resident monitor's."""
    return database.acquire_lease("monitor", HELD)


def take(tmp_path: Path, step_down: bool = True) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in ha_state.argument_spec().items()}
    url = "sqlite:///%s" % (tmp_path / "state.db")
    given = {"state": "leased", "state_url": url, "holder": "fence_test", "step_down": step_down, "socket": str(tmp_path / "socket")}
    return ha_state.run({**defaults, **given}, check_mode=False)


def test_the_lease_is_had_when_the_monitor_has_stepped_down(tmp_path: Path, database: StateDatabase, lease: Lease) -> None:
    def steps_down(_request: dict[str, Any]) -> dict[str, Any]:
        database.release_lease("monitor", lease.token)
        return {"seconds": 30.0}

    with serving(tmp_path / "socket", steps_down) as heard:
        taken = take(tmp_path)
    assert heard == [{"request": "step_down"}]
    assert taken["token"] > lease.token and database.lease()["holder"] == "fence_test"


def test_one_that_judges_a_host_is_asked_again(tmp_path: Path, database: StateDatabase, lease: Lease) -> None:
    answers: list[dict[str, Any]] = [{"error": "not now, a host is being judged"}, {"seconds": 30.0}]

    def steps_down_later(_request: dict[str, Any]) -> dict[str, Any]:
        answer = answers.pop(0)
        if not answers:
            database.release_lease("monitor", lease.token)
        return answer

    with serving(tmp_path / "socket", steps_down_later):
        assert take(tmp_path)["token"] > lease.token


def test_one_that_goes_on_refusing_keeps_the_lease_and_says_why(
    tmp_path: Path, database: StateDatabase, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ha_state, "STEPS_DOWN", 0.5)
    refused = pytest.raises(LibrehaError, match="refuses step_down: not now, under way: fence esx1.*Remedy: see libreha status")
    with serving(tmp_path / "socket", lambda _request: {"error": "not now, under way: fence esx1"}), refused:
        take(tmp_path)
    assert database.lease()["holder"] == "monitor"


@pytest.mark.parametrize("step_down", [False, True])
def test_another_run_is_not_asked(tmp_path: Path, lease: Lease, step_down: bool) -> None:
    with pytest.raises(LeaseHeld, match="monitor holds the lease"):
        take(tmp_path, step_down)
