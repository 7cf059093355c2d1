"""The inventory that is shipped as an example runs, from the first command of a new user on."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from new_user import ROOT, Playing

EXAMPLE = ROOT / "playbooks/inventory.example"


def storage(folder: Path) -> dict[str, object]:
    """A storage server whose files lie in *folder*, and whose tgtd does not run."""
    saved = folder / "targets.conf"
    saved.write_text("")
    return {"driver": "tgt", "saved_config": str(saved), "fence_list": str(folder / "fences.json"), "control_port": 4711}


def test_the_first_look_of_a_new_user_runs_and_changes_nothing(playing: Playing) -> None:
    playing.example(ansible_python_interpreter=sys.executable, libreha_storage=storage(playing.folder))
    before = sorted(playing.folder.rglob("*"))
    code, said = playing.play("libreha.vmware.site", "--check", "--diff")
    assert code == 0, said
    for host in ("esx1", "esx2", "esx3"):
        assert "unfenceable: %s" % host in said, "the user is told how each host stands"
    assert sorted(playing.folder.rglob("*")) == before


def test_check_mode_says_what_a_bare_machine_lacks(playing: Playing) -> None:
    venv = playing.folder / "venv"
    playing.example(ansible_python_interpreter="%s/bin/python" % venv, arbiter_venv=str(venv), libreha_storage=storage(playing.folder))
    code, said = playing.play("libreha.vmware.site", "--check", "--diff")
    assert code == 0, said
    assert "Would install into %s: pyvmomi>=" % venv in said
    assert not venv.exists()


def test_a_library_that_is_too_old_stops_site_with_a_remedy(playing: Playing) -> None:
    """Debian 12's own SQLAlchemy is 1.4."""
    old = playing.folder / "old/SQLAlchemy-1.4.46.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: SQLAlchemy\nVersion: 1.4.46\n")
    interpreter = playing.folder / "python"
    interpreter.write_text('#!/bin/sh\nPYTHONPATH="%s:$PYTHONPATH" exec %s "$@"\n' % (old.parent, sys.executable))
    interpreter.chmod(0o755)
    playing.example(ansible_python_interpreter=str(interpreter), libreha_storage=storage(playing.folder))
    code, said = playing.play("libreha.vmware.site")
    said = " ".join(said.split())
    assert code != 0
    assert "SQLAlchemy 1.4.46 is installed, SQLAlchemy>=2.0 is needed" in said
    assert "libreha.vmware.arbiter" in said and "-m pip install 'SQLAlchemy>=2.0'" in said


def test_every_host_of_the_example_is_admitted_by_its_storage_server() -> None:
    hosts = yaml.safe_load((EXAMPLE / "hosts.yml").read_text())["libreha_hosts"]["hosts"]
    target = yaml.safe_load((EXAMPLE / "group_vars/libreha_storage.yml.example").read_text())
    admitted = {initiator["name"] for initiator in target["iscsi_target_initiators"]}
    assert admitted == {host["libreha_initiator"] for host in hosts.values()}


def test_every_secret_of_the_example_is_in_its_vault() -> None:
    vault = yaml.safe_load((EXAMPLE / "group_vars/all/vault.yml.example").read_text())
    texts = [path.read_text() for path in EXAMPLE.rglob("*") if path.is_file()]
    used = {word.strip('"{} ') for text in texts for word in text.replace("}", " ").split() if word.strip('"{} ').startswith("vault_")}
    assert {name.rstrip(":") for name in used} == set(vault)
