"""What the module tgt_target would ask of tgtd, what it refuses, and the file that it writes, which the fence then edits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry import role_iscsi_target as described
from ansible_collections.libreha.vmware.plugins.module_utils.storage.layout import make_layout, read_found
from ansible_collections.libreha.vmware.plugins.module_utils.storage.target import preflight
from ansible_collections.libreha.vmware.plugins.module_utils.storage.target.model import Portal
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt import saved, targets_conf
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt.difference import Running, TgtPlan, Wanted, make_plan
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt.export import (
    Export,
    Unit,
    Written,
    derived_tid,
    read_written,
    render,
    without_secrets,
)
from ansible_collections.libreha.vmware.plugins.module_utils.storage.tgt.reading import NOBODY_ADDRESS, TargetReading, UnitReading
from test_layout import machine
from test_layout import wanted as variables

NAME = "iqn.2026-01.com.example:storage1"
ESX1, ESX2 = "iqn.1998-01.com.vmware:esx1", "iqn.1998-01.com.vmware:esx2"
SECRETS = {ESX1: "secret-of-esx-1", ESX2: "secret-of-esx-2"}
SERIAL = "0b9b2dc2-2a3c-5e62-bd44-0ac0d0a4f2a1"
EXPORT = Export(NAME, 7, {1: Unit(1, "/dev/vg/ds1", SERIAL, "ds1")}, SECRETS, (ESX1, ESX2))
PORTAL = Portal("192.0.2.1")


def served(**changes: Any) -> TargetReading:
    """EXPORT as tgtd has it."""
    reading = {
        "tid": 7,
        "name": NAME,
        "luns": [1],
        "units": {1: UnitReading("/dev/vg/ds1", SERIAL, 67)},
        "nop_interval": 3,
        "nop_count": 1,
        "accounts": [ESX1, ESX2],
        "acl": [NOBODY_ADDRESS, ESX1, ESX2],
        **changes,
    }
    return TargetReading(**reading)


def written(export: Export, folder: Path) -> Written:
    (folder / "libreha.conf").write_text(render(export))
    return read_written(str(folder / "libreha.conf"), NAME)


def plan(folder: Path, export: Export = EXPORT, *, target: TargetReading | None = None, fenced: str = "", **more: Any) -> TgtPlan:
    running = Running([target or served(), *more.get("others", [])], more.get("portals", [str(PORTAL)]), more.get("accounts", [ESX1, ESX2]))
    wanted = Wanted(export, frozenset([PORTAL]), (3, 1), {name: name for name in export.secrets})
    return make_plan(wanted, running, written(EXPORT, folder), frozenset(filter(None, [fenced])), frozenset(more.get("disrupt", ())))


def test_what_is_as_described_asks_for_nothing(tmp_path: Path) -> None:
    assert plan(tmp_path) == TgtPlan()


def test_a_new_target_gets_accounts_before_rights_and_rights_before_portals(tmp_path: Path) -> None:
    wanted = Wanted(EXPORT, frozenset([PORTAL]), (3, 1), {name: name for name in SECRETS})
    made = make_plan(wanted, Running([], ["0.0.0.0:3260"], []), Written(), frozenset(), frozenset())
    words = [str(step) for step in made.steps]
    assert words[0] == "close portal 0.0.0.0:3260" and words[-1] == "open portal 192.0.2.1:3260" and not made.refusals
    assert words.index("set the CHAP account %s" % ESX2) < words.index("admit %s" % ESX1)
    assert not any(secret in repr(made) for secret in SECRETS.values())


def test_a_fenced_initiator_is_not_admitted_and_its_line_is_as_the_fence_writes_it(tmp_path: Path) -> None:
    fenced = Export(NAME, 7, EXPORT.units, SECRETS, EXPORT.initiators, frozenset([ESX1]))
    assert plan(tmp_path, fenced, target=served(acl=[NOBODY_ADDRESS, ESX2]), fenced=ESX1) == TgtPlan()
    path = str(tmp_path / "libreha.conf")
    assert saved.revoke(path, ESX1)
    assert Path(path).read_text() == render(fenced)
    assert read_written(path, NAME).masked == {ESX1} and read_written(path, NAME).names == {ESX2}
    saved.admit(path, ESX1, [NAME])
    assert Path(path).read_text() == render(EXPORT)


def test_another_spelling_than_the_one_that_is_admitted_is_admitted_too(tmp_path: Path) -> None:
    """tgtd compares letter by letter: as an iSCSI name it is admitted, as what the host says it is not."""
    spelled = ESX1.replace("esx1", "ESX1")
    both = Export(NAME, 7, EXPORT.units, SECRETS, (spelled, ESX1, ESX2))
    made = plan(tmp_path, both)
    assert [str(step) for step in made.steps] == ["admit %s" % spelled] and not made.refusals
    fenced = Export(NAME, 7, EXPORT.units, SECRETS, both.initiators, frozenset([ESX1]))
    assert fenced.admitted == (ESX2,) and render(fenced).count("#libreha-fenced# ") == 2


def test_the_file_admits_by_name_alone(tmp_path: Path) -> None:
    written(EXPORT, tmp_path)
    (access,) = saved.access(str(tmp_path / "libreha.conf"))
    assert access.initiators == (ESX1, ESX2) and not access.anybody


def test_the_file_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    back = written(EXPORT, tmp_path)
    assert (back.secrets, back.names, back.masked) == (SECRETS, {ESX1, ESX2}, frozenset())
    assert {number: (unit.path, unit.serial) for number, unit in back.units.items()} == {1: ("/dev/vg/ds1", SERIAL)}


def test_a_diff_shows_no_secret_and_tells_which_is_replaced() -> None:
    shown = without_secrets(render(EXPORT), {**SECRETS, ESX2: "another-secret-2"})
    assert "incominguser %s (hidden)\n" % ESX1 in shown and "incominguser %s (hidden), another one\n" % ESX2 in shown
    assert not any(secret in shown for secret in SECRETS.values())


def test_the_number_of_a_target_is_of_its_name() -> None:
    assert derived_tid(NAME) == derived_tid(NAME) != derived_tid(NAME + "2")
    assert derived_tid(NAME, [derived_tid(NAME)]) == derived_tid(NAME) + 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"target": served(acl=[NOBODY_ADDRESS, ESX1, ESX2, "ALL"])}, "admits by address (ALL)"),
        ({"target": served(acl=[NOBODY_ADDRESS, ESX1, ESX2, "iqn.1998-01.com.vmware:esx3"])}, "esx3 is admitted and not described"),
        ({"target": served(units={1: UnitReading("/dev/vg/other", SERIAL)})}, "take it for another disk"),
        (
            {"target": served(units={1: UnitReading("/dev/vg/ds1", SERIAL), 2: UnitReading("/dev/x", "1")})},
            "LUN 2 (/dev/x) is exported and not",
        ),
        ({"export": Export(NAME, 7, EXPORT.units, {}, EXPORT.initiators)}, "the target has CHAP"),
        ({"export": Export(NAME, 7, EXPORT.units, {**SECRETS, ESX1: "x"}, EXPORT.initiators)}, "CHAP secret of %s is not the one" % ESX1),
        ({"portals": ["0.0.0.0:3260"], "others": [TargetReading(1, "iqn.2026-01.org:other")]}, "Portals belong to all targets"),
        (
            {"accounts": [], "others": [TargetReading(1, "iqn.2026-01.org:other", accounts=[ESX1])]},
            "belongs to target iqn.2026-01.org:other",
        ),
    ],
)
def test_what_would_take_something_from_the_hosts_is_refused(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    assert any(says in refusal for refusal in plan(tmp_path, **more).refusals)


def test_a_secret_is_replaced_where_its_initiator_is_named(tmp_path: Path) -> None:
    renewed = Export(NAME, 7, EXPORT.units, {**SECRETS, ESX1: "a-new-secret-1"}, EXPORT.initiators)
    made = plan(tmp_path, renewed, disrupt=[ESX1])
    assert [str(step) for step in made.steps] == ["set the CHAP account %s" % ESX1] and not made.refusals


def test_a_fenced_initiator_that_is_described_no_more_needs_no_word(tmp_path: Path) -> None:
    one = Export(NAME, 7, EXPORT.units, {ESX2: SECRETS[ESX2]}, (ESX2,))
    assert plan(tmp_path, one).refusals
    made = plan(tmp_path, one, target=served(acl=[NOBODY_ADDRESS, ESX2]), fenced=ESX1)
    assert not made.refusals and [str(step) for step in made.steps] == ["unbind the CHAP account %s" % ESX1]


def test_an_include_line_covers_a_file_that_is_not_there_yet(tmp_path: Path) -> None:
    config = tmp_path / "targets.conf"
    config.write_text("# include /etc/tgt/other/*.conf\ninclude /etc/tgt/conf.d/*.conf\n")
    assert targets_conf.includes(str(config), "/etc/tgt/conf.d/libreha.conf")
    assert not targets_conf.includes(str(config), "/etc/tgt/other/libreha.conf")


def test_the_role_says_what_tgt_does_not_do_by_its_variables() -> None:
    luns = [{"name": "ds1", "number": 1, "volume_group": "vg", "size": "2GiB", "unmap": True}]
    initiators = [{"name": ESX1, "luns": [{"lun": 1}], "chap": {"secret": "a-secret-of-16-c", "mutual_user": "x", "mutual_secret": "y"}}]
    said = described.tgt_lacks(variables(driver="tgt", luns=luns, initiators=initiators, group_parameters={"x": 1}))
    assert [one.partition(". ")[0] for one in said] == [
        "iscsi_target_luns[0] (ds1) has unmap",
        "iscsi_target_initiators[0] (%s) has luns, mutual_user, mutual_secret" % ESX1,
        "iscsi_target_group_parameters is not empty",
    ]
    assert described.tgt_lacks(variables(driver="tgt")) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "iscsi_target_luns[0].number is 0"),
        ({"luns": [], "nopin_timeout": 90}, "iscsi_target_nopin_timeout is 90"),
        ({"luns": [], "name": "storage"}, "iscsi_target_name is no iSCSI name"),
        ({"luns": [], "initiators": [{"name": "esx1"}]}, "iscsi_target_initiators[0].name is no iSCSI name"),
        ({"luns": [], "portals": []}, "iscsi_target_portals is empty"),
        (
            {"luns": [], "initiators": [{"name": ESX1, "chap": {"secret": "with spaces and $"}}]},
            "iscsi_target_initiators[0].chap.secret of",
        ),
    ],
)
def test_what_is_wrong_with_tgt_is_said_by_the_variable(changes: dict[str, Any], says: str) -> None:
    (problem,) = described.problems(variables(driver="tgt", **changes))
    assert problem.startswith(says) and "with spaces and $" not in problem


def test_an_address_that_floats_need_not_be_here() -> None:
    portals = [{"address": "192.0.2.1"}, {"address": "192.0.2.100", "floating": True}]
    assert make_layout(variables(portals=portals), read_found(machine())).problems == []
    portals[1]["floating"] = False
    (problem,) = make_layout(variables(portals=portals), read_found(machine())).problems
    assert problem.startswith("iscsi_target_portals[1].address is 192.0.2.100") and "floating" in problem


@pytest.mark.skipif(Path("/proc/sys/net/ipv4/ip_nonlocal_bind").read_text().strip() != "0", reason="this machine opens foreign addresses")
def test_a_portal_that_floats_needs_a_kernel_that_opens_it() -> None:
    (problem,) = preflight.address_problems(Portal("192.0.2.77", floating=True))
    assert "Set net.ipv4.ip_nonlocal_bind to 1" in problem
    assert preflight.address_problems(Portal("192.0.2.77", floating=True), foreseeing=True) == []
    assert "does not have that address" in preflight.address_problems(Portal("192.0.2.77"), foreseeing=True)[0]


def test_a_kernel_without_a_target_is_told_of_tgt() -> None:
    (problem,) = make_layout(variables(), read_found(machine(missing_kernel_modules=["iscsi_target_mod"]))).problems
    assert "set iscsi_target_driver to tgt" in problem
