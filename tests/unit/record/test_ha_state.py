# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules ha_state and ha_state_info as tasks run them."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from ansible_collections.libreha.vmware.plugins.modules import ha_state, ha_state_info


@pytest.fixture
def task(sqlite_url, capsys, monkeypatch):
    """Runs ha_state where a state is given, else ha_state_info; returns the result, with ``text``: all that it wrote."""
    monkeypatch.delenv("LIBREHA_STATE_URL", raising=False)

    def run(check: bool = False, **options):
        place = {} if "url" in options else {"state_url": sqlite_url}
        given = {name: value for name, value in {**place, **options}.items() if value is not None}
        with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit) as ended:
            (ha_state if "state" in given else ha_state_info).main()
        written = capsys.readouterr().out
        result = json.loads(written)
        assert bool(ended.value.code) == bool(result.get("failed"))
        return {**result, "text": written}

    return run


def test_it_creates_the_database_once_and_check_mode_says_so_without_doing_it(task, tmp_path):
    would = task(check=True, state="present")
    assert would["changed"] and list(tmp_path.iterdir()) == []
    done = task(state="present")
    assert done["changed"] and done["diff"] == would["diff"] and done["schema_version"] == would["schema_version"]
    assert not task(state="present")["changed"]
    assert not task(check=True, state="present")["changed"]


def test_reading_what_is_not_there_is_an_error_with_a_remedy(task, tmp_path):
    result = task()
    assert result["failed"] and "does not exist" in result["msg"] and "state: present" in result["msg"]
    assert list(tmp_path.iterdir()) == []


def test_the_lease_is_taken_prolonged_and_released(task):
    taken = task(state="leased", holder="run-1", lease=600, above=6)
    assert (taken["changed"], taken["token"], taken["remaining"]) == (True, 7, 600)
    assert taken["deadline"]["boot_id"] and taken["deadline"]["seconds"] > 600
    again = task(state="leased", holder="run-1", token=7, lease=600)
    assert (again["changed"], again["token"]) == (False, 7)
    assert task(state="released", holder="run-1", token=7)["changed"]
    for check in (True, False):
        again = task(check=check, state="released", holder="run-1", token=7)
        assert not again.get("failed") and not again["changed"]
    assert task()["lease"]["holder"] == ""


def test_a_lease_that_another_run_holds_fails_and_names_it(task):
    task(state="leased", holder="run-1", lease=600)
    for check in (False, True):
        result = task(check=check, state="leased", holder="run-2")
        assert result["failed"] and "run-1 holds the lease" in result["msg"] and result["lease_holder"] == "run-1"


def test_a_lost_lease_is_not_taken_anew_when_its_token_is_named(task):
    task(state="leased", holder="run-1", lease=600)
    task(state="released", holder="run-1", token=1)
    result = task(state="leased", holder="run-1", token=1)
    assert result["failed"] and "lost" in result["msg"]
    assert task()["lease"]["token"] == 1


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(("holder", "token"), [("run-1", 2), ("run-1", 0), ("run-2", 1), ("", 1)])
def test_releasing_a_lease_that_was_never_given_is_an_error(task, check: bool, holder: str, token: int):
    task(state="leased", holder="run-1", lease=600)
    result = task(check=check, state="released", holder=holder, token=token)
    assert result["failed"], "a mistyped name or token must not look released"
    assert "%r never had a lease with token %d" % (holder, token) in result["msg"] and result["lease_holder"] == "run-1"
    assert task()["lease"]["holder"] == "run-1"


def test_releasing_a_lease_that_another_run_has_taken_over_changes_nothing(task):
    task(state="leased", holder="run-1", lease=0.05)
    task(state="leased", holder="run-2", lease=600, wait=10)
    result = task(state="released", holder="run-1", token=1)
    assert not result.get("failed") and not result["changed"]
    assert task()["lease"]["holder"] == "run-2"


def test_a_negative_limit_or_time_is_refused(task):
    task(state="present")
    for journal in ({"limit": -1}, {"since": -1}):
        result = task(journal=journal)
        assert result["failed"] and "journal.%s is -1" % next(iter(journal)) in result["msg"]
    assert task(journal={"limit": 0})["journal"] == []
    assert task(state="leased", holder="run-1", wait=-1)["failed"]


def test_reading_is_no_state(task):
    """Ansible's inclusion rules: what only reads is a module of its own."""
    assert "state" not in ha_state_info.argument_spec() and "query" not in ha_state.argument_spec()["state"]["choices"]


def test_check_mode_promises_no_token_and_writes_nothing(task, sqlite_url, tmp_path):
    would = task(check=True, state="leased", holder="run-1")
    assert would["changed"] and "token" not in would and list(tmp_path.iterdir()) == []
    task(state="leased", holder="run-1", lease=600)
    before = {key: value for key, value in task(include=["journal", "vms", "hosts"]).items() if key != "text"}
    assert not task(check=True, state="leased", holder="run-1")["changed"]
    assert task(check=True, state="released", holder="run-1", token=1)["changed"]
    assert task(check=True, state="journaled", holder="Ada", entries=[{"text": "x"}])["changed"]
    assert {key: value for key, value in task(include=["journal", "vms", "hosts"]).items() if key != "text"} == before
    with StateDatabase.open(sqlite_url) as state:
        assert state.check_lease(1) > 0


def test_a_person_leaves_a_note(task):
    task(state="present")
    assert task(state="journaled", holder="Ada", entries=[{"text": "esx1 is off", "subject": "esx1"}, {"text": "esx2 too"}])["seq"] == [
        1,
        2,
    ]
    (first, second) = task(include=["journal"])["journal"]
    assert (first["holder"], first["kind"], first["subject"], first["text"]) == ("Ada", "person", "esx1", "esx1 is off")
    assert task(state="journaled", entries=[{"text": "who?"}])["failed"]
    assert task(state="journaled", holder="Ada", entries=[{"text": "x", "kind": "fence"}])["failed"]


def test_it_returns_what_is_asked_for(task, sqlite_url):
    with StateDatabase.open(sqlite_url) as state:
        token = state.acquire_lease("run", 600).token
        state.save_memory({"seen": 1}, token)
        state.record_vms([{"vm_id": "u:1", "name": "vm1", "host": "esx2"}], token)
        state.save_transaction({"vm_id": "u:1", "step": "planned"}, token, {"kind": "step", "text": "planned", "subject": "u:1"})
        state.journal_alarms([{"key": "k", "text": "esx1 dead", "subject": "esx1"}], token)
    found = task()
    assert found["vms"][0]["host"] == "esx2" and found["transactions"][0]["step"] == "planned" and found["alarms"][0]["key"] == "k"
    assert "memory" not in found and not found["changed"]
    assert task(include=["memory"])["memory"] == {"seen": 1}
    assert [entry["text"] for entry in task(journal={"kinds": ["step"]})["journal"]] == ["planned"]
    assert [entry["kind"] for entry in task(journal={"since": 1, "limit": 1})["journal"]] == ["step"]


def test_the_password_in_the_url_is_never_shown(task):
    pytest.importorskip("psycopg")
    for url in (
        "postgresql+psycopg://libreha:hunter2@127.0.0.1:1/state",
        "postgresql+psycopg://libreha@127.0.0.1:1/state?password=hunter2",
    ):
        result = task(state_url=url)
        assert result["failed"] and "127.0.0.1" in result["msg"] and "hunter2" not in result["text"]
    for url in ("postgresql+psycopg://libreha:hunter2@127.0.0.1:port/state", "hunter2"):
        assert "hunter2" not in task(state_url=url)["text"]


def test_the_url_may_come_from_the_environment_and_has_a_short_name(task, sqlite_url, tmp_path, monkeypatch):
    monkeypatch.setenv("LIBREHA_STATE_URL", "sqlite:///%s/elsewhere.db" % tmp_path)
    assert task(state="present", state_url=None)["changed"]
    assert (tmp_path / "elsewhere.db").exists()
    assert task(state="present", state_url=None, url="sqlite:///%s/third.db" % tmp_path)["changed"]
    assert (tmp_path / "third.db").exists()


def test_a_missing_library_is_named(task, monkeypatch):
    from ansible_collections.libreha.vmware.plugins.module_utils.record import opening

    monkeypatch.setattr(opening, "sa", None)
    result = task(state="present")
    assert result["failed"] and "SQLAlchemy" in result["msg"]
