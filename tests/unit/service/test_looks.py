"""The last looks are kept within bounds, and a recording of them is decided again as it was; what is damaged is said to be."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.cycle.ports import FenceOrder
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decide import decide
from ansible_collections.libreha.vmware.plugins.module_utils.decide.decision import Decision
from ansible_collections.libreha.vmware.plugins.module_utils.decide.inputs import DecisionInputs
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record.commands import read_command
from ansible_collections.libreha.vmware.plugins.module_utils.service import incidents, redaction
from ansible_collections.libreha.vmware.plugins.module_utils.service.looks import LookLog, read, write
from ansible_collections.libreha.vmware.plugins.module_utils.service.redaction import redacted
from resident_scene import Service


def always(service: Service, what: Callable[[], Any]) -> None:
    """At each wait."""
    happen = service.scene.while_waiting

    def both() -> None:
        what()
        happen()

    service.scene.while_waiting = both


def fences_at_once(service: Service) -> None:
    def carry_out() -> None:
        for order in list(service.scene.orders):
            if isinstance(order, FenceOrder):
                service.world.fence(order.action.host)
            service.scene.end(order)

    always(service, carry_out)


@pytest.fixture
def looks(service: Service) -> list[tuple[DecisionInputs, Decision]]:
    """Of a monitor that was to empty a host for some seconds, and saw another one die."""
    for after, kind in ((5, "maintenance_on"), (10, "maintenance_off")):
        command = read_command({"kind": kind, "subject": "esx3", "by": "ada", "reason": "a new fan"})
        service.cluster.at(after, partial(service.scene.database.give_commands, [command]))
    service.cluster.at(20, lambda: service.world.kill("esx1"))
    service.run(60)
    recorded = read(service.monitor._incidents.recording())
    return [(look.inputs, look.decision) for look in recorded]


def test_what_the_monitor_saw_is_decided_again_as_it_was(looks: list[tuple[DecisionInputs, Decision]]) -> None:
    assert len(looks) > 20
    again = read(write(looks))
    assert not [number for number, look in enumerate(again) if look.differs]
    assert {action.kind for look in again for action in look.decision.actions} == {"move", "fence"}


def test_another_brain_is_seen_to_decide_differently(looks: list[tuple[DecisionInputs, Decision]]) -> None:
    def never_settled(*arguments: Any) -> Decision:
        return dataclasses.replace(decide(*arguments), settled=False)

    differs = {name for look in read(write(looks), decider=never_settled) for name in look.differs}
    assert differs == {"settled"}


def test_the_oldest_looks_go_when_there_are_too_many_or_they_are_too_large(looks: list[tuple[DecisionInputs, Decision]]) -> None:
    few, small = LookLog(looks=5), LookLog(vms=7)
    for inputs, decision in looks:
        few.add(inputs, decision)
        small.add(inputs, decision)
    newest = [inputs.now for inputs, _decision in looks]
    assert [look.inputs.now for look in read(few.recording())] == newest[-5:]
    vms = len(looks[-1][0].observation.vms)
    assert [look.inputs.now for look in read(small.recording())] == newest[-(7 // vms) :]
    assert read(LookLog().recording()) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda lines: lines[1:], "does not say that it is one"),
        (lambda lines: [json.dumps({**json.loads(lines[0]), "version": 99}), *lines[1:]], "of version 99"),
        (lambda lines: [lines[0], *lines[2:]], "has no policy"),
        (lambda lines: [*lines[:3], "{"], "Expecting"),
        (lambda lines: [], "does not say that it is one"),
    ],
)
def test_what_is_no_recording_is_said_to_be_none(looks: Any, damage: Callable[[list[str]], list[str]], says: str) -> None:
    lines = gzip.decompress(write(looks)).decode().splitlines()
    with pytest.raises(LibrehaError, match=says):
        read(gzip.compress("\n".join(damage(lines)).encode()))


@pytest.mark.parametrize("cut", [0, 5, -20])
def test_a_recording_that_was_cut_off_is_damaged(looks: Any, cut: int) -> None:
    with pytest.raises(LibrehaError, match="no recording that can be read"):
        read(write(looks)[:cut])


# Without names


def test_without_names_it_decides_the_same_and_tells_no_name(looks: Any) -> None:
    plain = redacted(read(write(looks)))
    assert not [look.differs for look in read(plain) if look.differs]
    text = gzip.decompress(plain).decode()
    names = [*(host.name for host in looks[0][0].observation.hosts), *(vm.name for vm in looks[0][0].observation.vms)]
    assert names and not [name for name in names if name in text]
    assert json.loads(text.splitlines()[0])["redacted"]


def test_what_would_be_decided_differently_without_names_is_not_given_away(looks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_changer", lambda words: lambda text: "x" if text in words else text)  # all hosts become one
    with pytest.raises(LibrehaError, match="--with-names"):
        redacted(read(write(looks)))


def fields_with_text(kind: Any, seen: set[Any]) -> Iterator[str]:
    if get_origin(kind) is not None:
        for argument in get_args(kind):
            yield from fields_with_text(argument, seen)
    elif isinstance(kind, type) and kind not in seen and not issubclass(kind, Enum):
        seen.add(kind)
        if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
            for name, hint in get_type_hints(kind).items():
                if "str" in str(hint):
                    yield name
                yield from fields_with_text(hint, seen)


def test_of_every_field_with_text_it_is_said_whether_it_stays() -> None:
    """A new field is a name, a person's word, a text, or stays: somebody must say which."""
    found = set(fields_with_text(DecisionInputs, set()))
    said = redaction.NAMES | redaction.PERSONS | redaction.TEXTS | redaction.KEPT
    assert found - said == set()


# Incidents


def kept(service: Service, tmp_path: Path) -> list[Path]:
    service.monitor._incidents.finish()
    return sorted((tmp_path / "incidents").glob("*")) if (tmp_path / "incidents").exists() else []


def test_an_incident_is_kept_when_it_is_over_and_begins_before_it(service: Service, tmp_path: Path) -> None:
    fences_at_once(service)
    service.cluster.at(40, lambda: service.world.kill("esx1"))
    service.run(200)
    (file,) = kept(service, tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    recorded = read(file.read_bytes())
    verdicts = [next(host.verdict.value for host in look.decision.hosts if host.host == "esx1") for look in recorded]
    assert verdicts[0] == "healthy" and "dead" in verdicts and verdicts[-1] == "fenced"
    assert "is kept: libreha replay %s" % file in service.log.getvalue()


def test_quiet_hours_leave_no_file(service: Service, tmp_path: Path) -> None:
    service.run(600)
    assert kept(service, tmp_path) == []


def test_one_that_is_not_over_is_kept_when_the_monitor_ends(service: Service, tmp_path: Path) -> None:
    service.cluster.at(20, lambda: service.world.kill("esx1"))
    service.run(60)
    assert len(kept(service, tmp_path)) == 1


def test_of_one_that_lasts_the_beginning_and_the_end_are_kept(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incidents, "LONG", 10)
    service.cluster.at(20, lambda: service.world.kill("esx1"))
    service.run(200)
    first, last = kept(service, tmp_path)
    assert last.name == first.name.replace(incidents.SUFFIX, "-end" + incidents.SUFFIX) or first.name.endswith("-end.libreha")
    assert {len(read(file.read_bytes())) for file in (first, last)} != {1}


def test_only_the_newest_files_stay(service: Service, tmp_path: Path) -> None:
    folder = tmp_path / "incidents"
    folder.mkdir()
    for number in range(incidents.KEPT + 3):
        (folder / ("1999-01-%02d%s" % (number, incidents.SUFFIX))).touch()
    (folder / "notes.txt").touch()
    service.cluster.at(20, lambda: service.world.kill("esx1"))
    service.run(60)
    names = [file.name for file in kept(service, tmp_path)]
    assert len(names) == incidents.KEPT + 1 and "notes.txt" in names and "1999-01-00.libreha" not in names


def test_a_folder_that_cannot_be_written_costs_the_recording_and_nothing_else(service: Service, tmp_path: Path) -> None:
    (tmp_path / "incidents").touch()
    service.cluster.at(20, lambda: service.world.kill("esx1"))
    service.run(60)
    assert "is not kept in %s" % (tmp_path / "incidents") in service.log.getvalue()
    assert service.begun()
