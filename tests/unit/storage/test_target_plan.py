"""The way from the target that is found to the one that is wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.storage.target.dump_reading import dump_acl, read_acl, read_found
from ansible_collections.libreha.vmware.plugins.module_utils.storage.target.model import (
    Acl,
    Backstore,
    Chap,
    MappedLun,
    Model,
    Portal,
    Tpg,
    description,
)
from ansible_collections.libreha.vmware.plugins.module_utils.storage.target.names import derived_serial
from ansible_collections.libreha.vmware.plugins.module_utils.storage.target.plan import (
    Situation,
    TargetPlan,
    make_plan,
    with_serials,
    without_fenced,
)
from ansible_collections.libreha.vmware.plugins.module_utils.storage.target.steps import Act

NAME = "iqn.2026-01.com.example:storage1"
ESX1, ESX2 = "iqn.1998-01.com.vmware:esx1", "iqn.1998-01.com.vmware:esx2"
DS1 = Backstore("ds1", "block", "/dev/vg/ds1", serial="a" * 32, attributes={"emulate_tpu": "1"})
DS2 = Backstore("ds2", "fileio", "/srv/ds2.img", size=1 << 30, serial="b" * 32)
ACL1 = Acl(ESX1, {0: MappedLun(0), 1: MappedLun(1)}, Chap(ESX1, "secret-of-esx1"), {"nopin_timeout": "3"})
ACL2 = Acl(ESX2, {0: MappedLun(0), 1: MappedLun(1)}, Chap(ESX2, "secret-of-esx2"), {"nopin_timeout": "3"})
TPG = Tpg(
    1,
    portals=frozenset({Portal("192.0.2.1"), Portal("198.51.100.1")}),
    luns={0: DS1.place, 1: DS2.place},
    acls={ESX1: ACL1, ESX2: ACL2},
    attributes={"authentication": "1"},
)
WANTED = Model(NAME, {DS1.place: DS1, DS2.place: DS2}, {1: TPG})
EMPTY = Model(NAME, exists=False)
ALL_IN = Situation(sessions=frozenset({(1, ESX1), (1, ESX2)}))


def steps(plan: TargetPlan) -> list[str]:
    assert plan.refusals == []
    return [str(step) for step in plan.steps]


def with_tpg(**changes: Any) -> Model:
    return replace(WANTED, tpgs={1: replace(TPG, **changes)})


def test_nothing_is_done_when_it_is_as_wanted() -> None:
    found = with_tpg(attributes={**TPG.attributes, "login_timeout": "15"}, parameters={"MaxBurstLength": "262144"})
    assert steps(make_plan(WANTED, found, ALL_IN)) == []


def test_a_new_target_is_opened_last() -> None:
    plan = make_plan(WANTED, EMPTY, Situation())
    assert steps(plan)[:3] == ["create /backstores/block/ds1", "create /backstores/fileio/ds2", "create TPG 1"]
    assert steps(plan)[-3:] == ["TPG 1: open portal 192.0.2.1:3260", "TPG 1: open portal 198.51.100.1:3260", "enable TPG 1"]
    rights = [step.act for step in plan.steps].index(Act.CREATE_ACL)
    assert rights > max(index for index, step in enumerate(plan.steps) if step.act in (Act.SET_TPG, Act.ADD_LUN))


def test_one_new_lun_touches_nothing_else() -> None:
    third = Backstore("ds3", "fileio", "/srv/ds3.img", size=1 << 30, serial="c" * 32)
    acl1 = replace(ACL1, luns={**ACL1.luns, 2: MappedLun(2)})
    wanted = with_tpg(luns={**TPG.luns, 2: third.place}, acls={ESX1: acl1, ESX2: ACL2})
    wanted = replace(wanted, backstores={**WANTED.backstores, third.place: third})
    assert steps(make_plan(wanted, WANTED, ALL_IN)) == [
        "create /backstores/fileio/ds3",
        "TPG 1: add LUN 2 (/backstores/fileio/ds3)",
        "TPG 1: give %s LUN 2" % ESX1,
    ]


@pytest.mark.parametrize(
    ("acls", "says"),
    [
        ({ESX2: ACL2}, "its ACL is not in the model"),
        ({ESX1: replace(ACL1, luns={0: MappedLun(0)}), ESX2: ACL2}, "its LUN 1 is to be taken from it"),
        ({ESX1: replace(ACL1, luns={0: MappedLun(0), 1: MappedLun(0)}), ESX2: ACL2}, "its LUN 1 is to be LUN 0 of the TPG instead of 1"),
        ({ESX1: replace(ACL1, luns={0: MappedLun(0), 1: MappedLun(1, True)}), ESX2: ACL2}, "its LUN 1 is to become read only"),
    ],
)
def test_what_hurts_a_host_that_is_logged_in_needs_its_name(acls: dict[str, Acl], says: str) -> None:
    wanted = with_tpg(acls=acls)
    plan = make_plan(wanted, WANTED, ALL_IN)
    assert len(plan.refusals) == 1
    assert "%s has a session at TPG 1, and %s" % (ESX1, says) in plan.refusals[0]
    assert make_plan(wanted, WANTED, replace(ALL_IN, disrupt=frozenset({ESX2}))).refusals
    for allowed in (Situation(), replace(ALL_IN, disrupt=frozenset({ESX1}))):
        assert all(step.subject == ESX1 for step in make_plan(wanted, WANTED, allowed).steps)
        assert steps(make_plan(wanted, WANTED, allowed))


def test_what_a_fenced_host_loses_needs_no_word_and_it_is_not_admitted() -> None:
    admitted, aside = without_fenced(WANTED, frozenset({ESX1}))
    assert aside == {(1, ESX1): ACL1}
    assert steps(make_plan(admitted, WANTED, ALL_IN, frozenset({ESX1}))) == ["TPG 1: revoke %s" % ESX1]
    assert not [step for step in make_plan(admitted, EMPTY, Situation()).steps if step.subject == ESX1]


def test_a_lun_is_taken_away_only_with_its_backstores_name() -> None:
    wanted = replace(
        with_tpg(luns={0: DS1.place}, acls={ESX1: replace(ACL1, luns={0: MappedLun(0)}), ESX2: replace(ACL2, luns={0: MappedLun(0)})}),
        backstores={DS1.place: DS1},
    )
    (refusal,) = make_plan(wanted, WANTED, ALL_IN).refusals
    assert refusal.startswith("TPG 1 exports backstore ds2 as LUN 1, the model has nothing there.")
    assert refusal.endswith("name it in remove_backstores")
    named = replace(ALL_IN, remove_backstores=frozenset({"ds2"}))
    assert steps(make_plan(wanted, WANTED, named)) == ["TPG 1: remove LUN 1 (ds2)", "remove /backstores/fileio/ds2, its data stays"]
    elsewhere = replace(named, exported_elsewhere=frozenset({DS2.place}))
    assert steps(make_plan(wanted, WANTED, elsewhere)) == ["TPG 1: remove LUN 1 (ds2)"]
    assert "is in backstores and in remove_backstores" in make_plan(WANTED, WANTED, named).refusals[0]


def test_a_luns_number_does_not_change_to_another_backstore_by_mistake() -> None:
    swapped = with_tpg(luns={0: DS2.place, 1: DS1.place})
    assert len(make_plan(swapped, WANTED, ALL_IN).refusals) == 2


@pytest.mark.parametrize(
    ("store", "says"),
    [
        (replace(DS2, path="/srv/other.img"), "its path is /srv/ds2.img, the model says /srv/other.img"),
        (replace(DS2, write_back=True), "its write_back is False, the model says True"),
        (replace(DS2, serial="d" * 32), "its serial is %s, the model says %s" % ("b" * 32, "d" * 32)),
        (replace(DS2, size=1 << 29), "It is never made smaller"),
    ],
)
def test_a_backstore_is_not_made_anew(store: Backstore, says: str) -> None:
    plan = make_plan(replace(WANTED, backstores={DS1.place: DS1, DS2.place: store}), WANTED, Situation())
    assert says in plan.refusals[0]
    assert not [step for step in plan.steps if step.act in (Act.CREATE_BACKSTORE, Act.REMOVE_BACKSTORE)]


def test_a_file_grows() -> None:
    larger = replace(DS2, size=2 << 30)
    assert steps(make_plan(replace(WANTED, backstores={DS1.place: DS1, DS2.place: larger}), WANTED, ALL_IN)) == ["grow " + DS2.place]


def test_two_backstores_never_have_the_same_data() -> None:
    again = Backstore("again", "fileio", DS2.path, size=1 << 30, serial="e" * 32)
    plan = make_plan(replace(WANTED, backstores={**WANTED.backstores, again.place: again}), WANTED, Situation())
    assert "backstore again would have the same data as %s" % DS2.place in plan.refusals[0]


def test_a_target_that_goes_leaves_what_others_export() -> None:
    assert "has a session" in make_plan(EMPTY, WANTED, ALL_IN).refusals[0]
    plan = make_plan(EMPTY, WANTED, Situation(exported_elsewhere=frozenset({DS1.place})))
    assert steps(plan)[-2:] == ["remove target %s" % NAME, "remove /backstores/fileio/ds2, its data stays"]
    assert steps(make_plan(EMPTY, EMPTY, Situation())) == []


def test_a_tpg_is_not_disabled_under_sessions() -> None:
    assert len(make_plan(with_tpg(enabled=False), WANTED, ALL_IN).refusals) == 2
    assert steps(make_plan(with_tpg(enabled=False), WANTED, Situation())) == ["disable TPG 1"]


def test_serials_stay_what_they_are() -> None:
    bare = replace(WANTED, backstores={DS1.place: replace(DS1, serial="")})
    other = {DS1.place: replace(DS1, serial="f" * 32)}
    assert with_serials(bare, WANTED.backstores, other).backstores[DS1.place].serial == DS1.serial
    assert with_serials(bare, {}, other).backstores[DS1.place].serial == "f" * 32
    assert with_serials(bare, {}, {}).backstores[DS1.place].serial == derived_serial(NAME, "ds1")
    assert with_serials(WANTED, other).backstores[DS1.place].serial == DS1.serial


def test_the_diff_shows_that_a_secret_changes_and_never_which() -> None:
    wanted = with_tpg(acls={ESX1: replace(ACL1, chap=Chap(ESX1, "another-secret")), ESX2: ACL2})
    before, after = description(WANTED, wanted), description(wanted, wanted)
    assert before["tpgs"]["1"]["acls"][ESX1]["chap_secret"] == "(hidden), another one"
    assert before["tpgs"]["1"]["acls"][ESX2] == after["tpgs"]["1"]["acls"][ESX2]
    assert "secret-of" not in str((before, after))
    assert "another-secret" not in str((before, after, [str(step) for step in make_plan(wanted, WANTED, ALL_IN).steps]))
    assert steps(make_plan(wanted, WANTED, ALL_IN)) == ["TPG 1: set CHAP for %s" % ESX1]


def test_an_acl_in_rtslibs_form_reads_back_the_same() -> None:
    for acl in (ACL1, Acl(ESX2, {3: MappedLun(1, True)}, Chap("a", "b" * 12, "c", "d" * 12))):
        assert read_acl(dump_acl(acl)) == acl


def test_what_rtslib_dumps_is_read() -> None:
    dump = {
        "wwn": NAME,
        "fabric": "iscsi",
        "tpgs": [
            {
                "tag": 1,
                "enable": True,
                "attributes": {"authentication": 1},
                "luns": [{"index": 0, "storage_object": DS1.place, "alias": "x"}, {"index": 1, "storage_object": DS2.place}],
                "portals": [{"ip_address": "192.0.2.1", "port": 3260}, {"ip_address": "198.51.100.1", "port": 3260}],
                "node_acls": [dump_acl(ACL1), dump_acl(ACL2)],
            }
        ],
    }
    stores = [
        {"plugin": "block", "name": "ds1", "dev": DS1.path, "wwn": DS1.serial, "write_back": True, "attributes": {"emulate_tpu": 1}},
        {"plugin": "fileio", "name": "ds2", "dev": DS2.path, "wwn": DS2.serial, "size": DS2.size, "write_back": False},
    ]
    assert read_found(NAME, [{**dump, "fabric": "loopback"}, dump], stores) == WANTED
    assert not read_found("iqn.2026-01.com.example:other", [dump], stores).exists
