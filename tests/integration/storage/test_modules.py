"""The modules as Ansible runs them, on a real tgtd."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.entry import iscsi_fence
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from real_storage import ESX1, ESX2, HANG, TARGET

ROOT = Path(__file__).resolve().parents[3]


def run(storage, module: str, *, check: bool = False, **options):
    """Run a module in a play; its result, and all that was printed."""
    given = {"control_port": storage.control_port, "saved_config": str(storage.saved), "fence_list": str(storage.list_path), **options}
    tasks = [
        {"libreha.vmware." + module: given, "register": "result", "ignore_errors": True},
        {"ansible.builtin.debug": {"msg": "RESULT {{ result | to_json }}"}},
    ]
    play = {"hosts": "localhost", "gather_facts": False, "tasks": tasks}
    (storage.folder / "play.yml").write_text(json.dumps([play]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(storage.folder / "play.yml"), "-c", "local", "--diff", "-vvv"]
    command += ["-e", "ansible_python_interpreter=" + sys.executable, *(["--check"] if check else [])]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"), "ANSIBLE_LOCALHOST_WARNING": "false"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=HANG * 3, check=False)
    (shown,) = [line.strip() for line in ran.stdout.splitlines() if line.strip().startswith('"msg": "RESULT ')]
    result = json.loads(json.loads("{%s}" % shown)["msg"].removeprefix("RESULT "))
    return result, ran.stdout + ran.stderr


FENCED = {"state": "fenced", "host": "esx1", "initiators": [ESX1], "token": 7, "reason": "a test"}


def test_check_mode_and_diff_tell_what_the_run_then_does(storage):
    storage.write().running()
    foreseen, _said = run(storage, "iscsi_fence", check=True, **FENCED)
    assert foreseen["changed"] and not foreseen["confirmed"] and foreseen["sessions_ended"] == 1
    assert not storage.list_path.exists() and not storage.login_refused()
    done, _said = run(storage, "iscsi_fence", **FENCED)
    assert done["changed"] and done["confirmed"] and done["sessions_ended"] == 1 and done["token"] == 7
    assert done["diff"] == foreseen["diff"]
    assert done["diff"]["before"]["admitted"] == {TARGET: [ESX1, ESX2]} and done["diff"]["after"]["admitted"] == {TARGET: [ESX2]}
    assert done["diff"]["after"]["fenced"] == [ESX1]
    assert [step["step"] for step in done["steps"]][-1] == "verified"
    again, _said = run(storage, "iscsi_fence", **FENCED)
    assert again["confirmed"] and not again["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_nothing_is_confirmed_where_no_target_runs(storage, check):
    empty, _said = run(storage, "iscsi_fence", check=check, state="reapplied")
    assert empty["confirmed"], "the target runs, and nobody is to be kept out"
    storage.stop()
    asked, _said = run(storage, "iscsi_fence", check=check, state="reapplied")
    assert not asked["confirmed"] and not asked["changed"] and not asked.get("failed")
    assert any("tgtd is not running" in line for line in asked["why_not"])


def test_a_fence_where_no_target_runs_fails_with_one_remedy(storage):
    storage.stop()
    failed, _said = run(storage, "iscsi_fence", wait=0.1, **FENCED)
    assert failed["failed"] and "tgtd is not running" in failed["msg"] and failed["msg"].count("Remedy:") == 1
    asked, _said = run(storage, "iscsi_fence", check=True, **FENCED)
    assert not asked.get("confirmed")


def test_the_observation_has_all_that_decide_wants(storage):
    storage.write(ESX2).running()
    run(storage, "iscsi_fence", **FENCED)
    seen, _said = run(storage, "iscsi_session_info", name="storage1")
    look = seen["storage"]
    assert (look["name"], look["driver"], look["serving"], look["highest_token"]) == ("storage1", "tgt", True, 7)
    assert [session["initiator"] for session in look["sessions"]] == [ESX2]
    assert look["access"] == [{"target": TARGET, "initiators": [ESX2], "anybody": False, "reason": "", "luns": [1], "unfenceable": ""}]
    (fence,) = look["fences"]
    assert (fence["host"], fence["confirmed"], fence["admitted"], fence["token"]) == ("esx1", True, False, 7)
    assert not seen["changed"]


def test_unfencing_in_check_mode_and_for_real(storage):
    run(storage, "iscsi_fence", **FENCED)
    word = {"state": "unfenced", "host": "esx1", "token": 8, "force": "esx1", "reason": "a test"}
    foreseen, _said = run(storage, "iscsi_fence", check=True, **word)
    assert foreseen["changed"] and storage.login_refused()
    done, _said = run(storage, "iscsi_fence", **word)
    assert done["changed"] and done["diff"] == foreseen["diff"] and not storage.login_refused()


def test_the_reading_of_an_uptime_is_dated_by_the_observation(storage):
    run(storage, "iscsi_fence", **FENCED)
    word = {"state": "unfenced", "host": "esx1", "token": 8, "uptime": 1.0, "margin": 0.0}
    refused, _said = run(storage, "iscsi_fence", **word)
    assert "not known how old" in refused["msg"]
    long_ago = {"boot_id": clock.read_boot_id(), "seconds": clock.now().seconds - 600, "wall": ""}
    refused, _said = run(storage, "iscsi_fence", uptime_read_at=long_ago, **word)
    assert "not restarted since" in refused["msg"]
    done, _said = run(storage, "iscsi_fence", uptime_read_at=clock.now().to_dict(), **word)
    assert done["changed"]


def test_a_secret_is_nowhere_in_the_output(new_storage):
    new_storage.saved.write_text(new_storage.saved.read_text().replace("</target>", "  incominguser %s OldSecret1234\n</target>" % ESX1))
    new_storage.start()
    run(new_storage, "iscsi_fence", **FENCED)
    word = {"state": "unfenced", "host": "esx1", "token": 8, "force": "esx1", "reason": "a test"}
    done, said = run(new_storage, "iscsi_fence", chap_secret="NewSecret5678", **word)
    assert done["changed"]
    assert "OldSecret1234" not in said and "NewSecret5678" not in said


def test_an_unconfirmed_fence_is_a_failed_task_that_says_so(storage):
    storage.admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
    failed, _said = run(storage, "iscsi_fence", wait=0.1, **FENCED)
    assert failed["failed"] and failed["confirmed"] is False and failed["host"] == "esx1"
    assert "ALL" in failed["msg"] and "nothing may be started elsewhere" in failed["msg"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"initiators": ["esx1"]}, "no iSCSI initiator name"),
        ({"initiators": ["iqn.a:b,initiator-name=x"]}, "no iSCSI initiator name"),
        ({"initiators": []}, "initiators is empty"),
        ({"lease_remaining": 0.0}, "time in which this run may act is over"),
        ({"deadline": {"boot_id": "elsewhere", "seconds": 1e9}}, "cannot be compared"),
        ({"fence_list": "fences.json"}, "not an absolute path"),
        ({"saved_config": "/nonexistent/targets.conf"}, "cannot read /nonexistent/targets.conf"),
        ({"reason": ""}, "reason is empty"),
        ({"reason": None}, "reason is empty"),
        ({"host": None}, "host is empty"),
        ({"token": None}, "token is empty"),
        ({"token": -1}, "token is -1"),
    ],
)
def test_bad_input_is_a_clear_error_before_anything_is_changed(storage, options, why):
    given = {"control_port": storage.control_port, "saved_config": str(storage.saved), "fence_list": str(storage.list_path)}
    params = {name: option.get("default") for name, option in iscsi_fence.argument_spec().items()}
    with pytest.raises(LibrehaError) as error:
        iscsi_fence.run({**params, **given, **FENCED, **options})
    assert why in str(error.value) and error.value.remedy
    if "saved_config" not in options:
        assert not storage.login_refused()


def test_an_unknown_option_is_refused(storage):
    failed, _said = run(storage, "iscsi_fence", unknown=1, **FENCED)
    assert failed["failed"] and "Unsupported parameters" in failed["msg"]


def test_reapplying_through_the_module(storage):
    run(storage, "iscsi_fence", **FENCED)
    storage.save([ESX1, ESX2])
    done, _said = run(storage, "iscsi_fence", state="reapplied")
    assert done["changed"] and done["confirmed"] and done["token"] == 7
    again, _said = run(storage, "iscsi_fence", state="reapplied")
    assert not again["changed"] and again["confirmed"]
