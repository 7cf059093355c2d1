"""The stored memory: its version is read, an older one is migrated, a newer one refused; defaults do not change unnoticed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide import memory as memory_module
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import VERSION, Memory, VmRecord
from write_memory_form import form_of, stored

RECORDED = Memory(vms=(VmRecord("u:a/a.vmx", "a", "[s] a/a.vmx", "esx1"),))


def test_the_stored_memory_carries_its_version() -> None:
    form = json.loads(json.dumps(RECORDED.to_dict()))
    assert form["version"] == VERSION
    assert Memory.from_dict(form) == RECORDED
    assert Memory().to_dict() == {"version": VERSION}


def test_the_first_release_wrote_no_version() -> None:
    form = {key: value for key, value in RECORDED.to_dict().items() if key != "version"}
    assert Memory.from_dict(form) == RECORDED


@pytest.mark.parametrize("version", [VERSION + 1, 0, "1", None, True, 1.0])
def test_a_version_that_this_release_does_not_know_is_refused(version: Any) -> None:
    with pytest.raises(ValueError, match="its version is %s, and this release reads versions 1 to" % re.escape(repr(version))):
        Memory.from_dict({**RECORDED.to_dict(), "version": version})


def test_an_older_memory_is_migrated_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two releases on: the default of a VM's CPUs changed, then a field got another name."""

    def one_cpu(form: Any) -> Any:
        return {**form, "vms": [{"cpu": 7, **vm} for vm in form["vms"]]}

    def renamed(form: Any) -> Any:
        return {**form, "vms": [{**vm, "memory": vm["cpu"] * 1000} for vm in form["vms"]]}

    form = RECORDED.to_dict()
    monkeypatch.setattr(memory_module, "VERSION", VERSION + 2)
    monkeypatch.setattr(memory_module, "MIGRATIONS", {**memory_module.MIGRATIONS, VERSION: one_cpu, VERSION + 1: renamed})
    (vm,) = Memory.from_dict(form).vms
    assert (vm.cpu, vm.memory) == (7, 7000)


def test_every_field_has_the_default_with_which_it_is_left_out_of_stored_memories() -> None:
    forms = stored()
    known, now = forms[str(VERSION)], form_of(Memory)
    changed = [
        "%s.%s was %s, is %s" % (kind, name, known[kind][name], now.get(kind, {}).get(name))
        for kind in known
        for name in known[kind]
        if now.get(kind, {}).get(name) != known[kind][name]
    ]
    assert not changed, "raise memory.VERSION and write a step in memory.MIGRATIONS: %s" % changed
    assert known == now, "new fields: python tests/unit/decide/write_memory_form.py"


def test_there_is_a_step_from_each_older_version() -> None:
    assert sorted(memory_module.MIGRATIONS) == list(range(1, VERSION))
    assert sorted(map(int, stored())) == list(range(1, VERSION + 1))
