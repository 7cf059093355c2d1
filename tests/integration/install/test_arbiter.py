"""The role arbiter makes a virtualenv in which the modules run, once."""

from __future__ import annotations

import json

from new_user import Playing


def changed(said: str) -> int:
    return int(said.rpartition("changed=")[2].split()[0])


def test_the_role_makes_a_virtualenv_for_the_play_and_a_second_run_changes_nothing(playing: Playing) -> None:
    venv = playing.folder / "venv"
    playing.inventory.write_text(json.dumps({"all": {"hosts": {"san1": {"ansible_connection": "local", "arbiter_venv": str(venv)}}}}))
    tasks = [{"libreha.vmware.arbiter_info": {}, "register": "seen"}, {"ansible.builtin.debug": {"var": "seen.python.executable"}}]
    roles = {"hosts": "san1", "gather_facts": False, "roles": ["libreha.vmware.arbiter"]}
    (playing.folder / "play.yml").write_text(json.dumps([roles, {"hosts": "san1", "gather_facts": False, "tasks": tasks}]))

    code, said = playing.play("play.yml")
    assert code == 0 and changed(said) >= 2, said
    assert '"seen.python.executable": "%s/bin/python"' % venv in said, "the plays that follow use it"
    for check in ((), ("--check",)):
        code, said = playing.play("play.yml", *check)
        assert (code, changed(said)) == (0, 0), said

    (playing.folder / "lio.yml").write_text(json.dumps([{**roles, "vars": {"arbiter_lio": True}}]))
    code, said = playing.play("lio.yml", "--check")
    assert code == 0, said
    if changed(said):  # where this machine has no rtslib of its own
        assert "python3-rtslib-fb" in said and "Would install into %s: rtslib-fb>=" % venv in said
