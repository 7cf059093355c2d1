"""The playbook journal: what a person reads."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import StateDatabase
from test_exit_status import play


def test_the_journal_is_shown_a_line_an_entry_with_the_reasons_below_it(tmp_path: Path) -> None:
    url = "sqlite:///%s" % (tmp_path / "state.db")
    with StateDatabase.open(url) as database:
        token = database.acquire_lease("run-1", 60).token
        entries = [{"kind": "action", "subject": "esx1", "text": "ordered: fence esx1: it is dead; its VMs fit elsewhere"}]
        database.journal([*entries, {"kind": "verdict", "subject": "esx2", "text": "esx2 healthy"}], token)
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    groups = {"libreha_hosts": {"hosts": {"esx1": {}}}, "libreha_storage": {"hosts": {"san1": here}}}
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {"children": groups, "vars": {"libreha_state_url": url}}}))
    done = play("journal", path, host="esx1", kinds="action,verdict")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Z  action    ordered: fence esx1" in done.stdout
    assert '"    it is dead"' in done.stdout and '"    its VMs fit elsewhere"' in done.stdout
    assert "esx2" not in done.stdout
    everything = play("journal", path, entries=1).stdout
    assert "esx2 healthy" in everything and "fence" not in everything
