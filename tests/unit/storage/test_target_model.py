"""iscsi_target's options, read into a model: what is taken, and what is refused with the option's name."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.libreha.vmware.plugins.module_utils.entry.iscsi_target import argument_spec
from ansible_collections.libreha.vmware.plugins.module_utils.entry.options.target_model import read_model
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.storage.target.model import MappedLun, Model, Portal
from ansible_collections.libreha.vmware.plugins.module_utils.storage.target.names import derived_serial, iscsi_name, naa_name, read_size

NAME = "iqn.2026-01.com.example:storage1"
ESX1, ESX2 = "iqn.1998-01.com.vmware:esx1", "iqn.1998-01.com.vmware:esx2"
OPTIONS: dict[str, Any] = {
    "name": NAME,
    "backstores": [
        {"name": "ds1", "type": "block", "path": "/dev/vg/ds1"},
        {"name": "ds2", "type": "fileio", "path": "/srv/ds2.img", "size": "1GiB"},
    ],
    "tpgs": [
        {
            "portals": [{"address": "192.0.2.1"}, {"address": "2001:db8::1", "port": 3261}],
            "luns": [{"number": 0, "backstore": "ds1"}, {"number": 7, "backstore": "ds2"}],
            "acls": [
                {"initiator": ESX1, "chap": {"secret": "secret-of-esx1"}},
                {"initiator": ESX2.upper(), "luns": [{"lun": 7, "number": 1, "write_protect": True}], "chap": {"secret": "secret-of-esx2"}},
            ],
        }
    ],
}


def model(change: Callable[[dict[str, Any]], Any] = lambda options: None) -> Model:
    """The options as Ansible gives them to the module, *change*d before."""
    options = copy.deepcopy(OPTIONS)
    change(options)
    read = ArgumentSpecValidator(argument_spec()).validate(options)
    assert not read.error_messages
    return read_model(read.validated_parameters)


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set one option, named as the errors name it."""

    def change(options: dict[str, Any]) -> None:
        place: Any = options
        *parents, last = path.replace("]", "").replace("[", ".").split(".")
        for parent in parents:
            place = place[int(parent)] if parent.isdigit() else place[parent]
        place[int(last) if last.isdigit() else last] = value

    return change


def test_a_model_has_what_the_options_say() -> None:
    read = model()
    assert list(read.backstores) == ["/backstores/block/ds1", "/backstores/fileio/ds2"]
    assert read.backstores["/backstores/fileio/ds2"].size == 1 << 30
    tpg = read.tpgs[1]
    assert tpg.portals == {Portal("192.0.2.1"), Portal("2001:db8::1", 3261)}
    assert sorted(map(str, tpg.portals)) == ["192.0.2.1:3260", "[2001:db8::1]:3261"]
    assert tpg.luns == {0: "/backstores/block/ds1", 7: "/backstores/fileio/ds2"}
    assert tpg.acls[ESX1].luns == {0: MappedLun(0), 7: MappedLun(7)}, "without luns an initiator sees all"
    assert tpg.acls[ESX2].luns == {1: MappedLun(7, True)}
    assert (tpg.acls[ESX1].chap.user, tpg.acls[ESX1].chap.secret) == (ESX1, "secret-of-esx1")
    assert tpg.attributes["generate_node_acls"] == "0"
    assert tpg.attributes["authentication"] == "1"
    assert tpg.acls[ESX1].attributes == {"nopin_timeout": "3", "nopin_response_timeout": "3"}
    assert "secret" not in repr(tpg.acls[ESX1].chap).replace("secret=", "")


def test_a_tpg_asks_for_chap_only_when_its_initiators_have_it() -> None:
    def without(options: dict[str, Any]) -> None:
        for acl in options["tpgs"][0]["acls"]:
            del acl["chap"]

    assert model(without).tpgs[1].attributes["authentication"] == "0"


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("name", "ign.2026-01.com.example:a", "name is no iSCSI name"),
        ("name", "iqn.2026-00.com.example:a", "name is no iSCSI name"),
        ("name", "iqn.2026-01.example:a", "at least two parts in the domain"),
        ("name", "iqn.2026-01.com.example:a_b", "no underscore"),
        ("name", "iqn.2026-01.com.example:" + "a" * 200, "name has more than 223 characters"),
        ("backstores[0].name", "ds2", "backstores has the name ds2 twice"),
        ("backstores[0].name", "a/b", "backstores[0].name is 'a/b'"),
        ("backstores[0].path", "ds1", "backstores[0].path is not an absolute path"),
        ("backstores[0].path", "/dev/a,b", "has a comma"),
        ("backstores[0].path", "/srv/ds2.img", "have the same path"),
        ("backstores[0].size", "1G", "backstores[0].size is given for a disk"),
        ("backstores[0].write_back", True, "backstores[0].write_back is given for a disk"),
        ("backstores[0].serial", "disk one", "backstores[0].serial is 'disk one'"),
        ("backstores[0].serial", derived_serial(NAME, "ds2"), "ds1 and ds2 would have the same NAA name"),
        ("backstores[0].attributes", {"emulate_tpu": 1}, "backstores[0].attributes.emulate_tpu is decided by other options"),
        ("backstores[1].size", None, "backstores[1].size is missing"),
        ("backstores[1].size", "1000000001", "backstores[1].size is no size"),
        ("backstores[1].size", "a lot", "backstores[1].size is no size"),
        ("tpgs", [], "tpgs is empty"),
        ("tpgs[0].tag", 0, "tpgs[0].tag is 0"),
        ("tpgs[0].portals[0].address", "storage1", "tpgs[0].portals[0].address is no IP address"),
        ("tpgs[0].portals[1]", {"address": "192.0.2.1"}, "tpgs[0].portals[1] is there twice: 192.0.2.1:3260"),
        ("tpgs[0].luns[1].number", 0, "tpgs[0].luns[1].number is 0 again"),
        ("tpgs[0].luns[1].number", 70000, "tpgs[0].luns[1].number is 70000"),
        ("tpgs[0].luns[1].backstore", "ds3", "tpgs[0].luns[1].backstore is not among backstores: ds3"),
        ("tpgs[0].acls[1].initiator", ESX1.upper(), "tpgs[0].acls[1].initiator is there twice: %s" % ESX1),
        ("tpgs[0].acls[1].initiator", "esx1", "tpgs[0].acls[1].initiator is no iSCSI name"),
        ("tpgs[0].acls[1].luns[0].lun", 3, "tpgs[0].acls[1].luns[0].lun is 3, and the TPG has no such LUN"),
        ("tpgs[0].acls[1].luns[0].number", 256, "tpgs[0].acls[1].luns[0].number is 256"),
        ("tpgs[0].acls[0].chap.secret", "elevenchars", "tpgs[0].acls[0].chap.secret of %s has 11 characters" % ESX1),
        ("tpgs[0].acls[0].chap.secret", "x" * 256, "has 256 characters"),
        ("tpgs[0].acls[0].chap.secret", "with spaces in it", "without spaces"),
        ("tpgs[0].acls[0].chap", None, "have CHAP for some initiators only, not for %s" % ESX1),
        ("tpgs[0].acls[0].chap.mutual_user", "storage1", "only one of mutual_user and mutual_secret"),
        ("tpgs[0].attributes", {"generate_node_acls": 1}, "tpgs[0].attributes.generate_node_acls is decided by other options"),
        ("tpgs[0].nopin_timeout", 2, "tpgs[0].nopin_timeout is 2"),
    ],
)
def test_what_is_wrong_is_refused_with_its_name_and_no_secret(path: str, value: Any, says: str) -> None:
    with pytest.raises(LibrehaError) as error:
        model(put(path, value))
    assert says in str(error.value)
    assert error.value.remedy
    assert "elevenchars" not in str(error.value)


def test_everything_that_is_wrong_is_named_at_once_and_nothing_twice() -> None:
    """One mistake must not hide the next, and must not be taken for another: what refers to it is judged by what is there."""
    mistakes = {
        "name": "storage1",
        "backstores[0].name": "a/b",
        "backstores[0].path": "ds1",
        "backstores[1].size": "a lot",
        "tpgs[0].nopin_timeout": 2,
        "tpgs[0].portals[0].address": "storage1",
        "tpgs[0].portals[1].port": 0,
        "tpgs[0].luns[0].backstore": "ds3",
        "tpgs[0].acls[0].initiator": "esx1",
        "tpgs[0].acls[0].chap.secret": "elevenchars",
        "tpgs[0].acls[1].luns[0].number": 256,
    }

    def all_at_once(options: dict[str, Any]) -> None:
        for path, value in mistakes.items():
            put(path, value)(options)

    with pytest.raises(LibrehaError) as error:
        model(all_at_once)
    said = error.value.details["errors"]
    assert len(said) == len(mistakes)
    assert {path for path in mistakes if any(text.startswith(path + " ") for text in said)} == set(mistakes)
    assert all(text in str(error.value) for text in said) and str(error.value).count("Remedy:") == 1
    assert "elevenchars" not in str(error.value)


def test_a_target_has_each_portal_in_one_tpg() -> None:
    with pytest.raises(LibrehaError, match="1 and 2 have the same portal 192.0.2.1:3260"):
        model(lambda options: options["tpgs"].append({"tag": 2, "portals": [{"address": "192.0.2.1"}]}))
    with pytest.raises(LibrehaError, match="has the tag 1 twice"):
        model(lambda options: options["tpgs"].append({"portals": [{"address": "192.0.2.2"}]}))


def test_mutual_secrets_differ() -> None:
    with pytest.raises(LibrehaError, match="mutual_secret of .* equals its secret"):
        model(
            put("tpgs[0].acls[0].chap", {"secret": "secret-of-esx1", "mutual_user": "storage1", "mutual_secret": "secret-of-esx1"}),
        )


@pytest.mark.parametrize(("text", "size"), [("500GiB", 500 << 30), ("1.5t", 3 << 39), ("2097152", 2 << 20), ("64 MB", 64 << 20)])
def test_sizes(text: str, size: int) -> None:
    assert read_size(text, "size") == size


def test_a_serial_depends_on_the_names_only_and_makes_the_naa_name() -> None:
    assert derived_serial(NAME, "ds1") == "%s" % derived_serial(NAME, "ds1")
    assert len({derived_serial(name, store) for name in (NAME, ESX1) for store in ("ds1", "ds2")}) == 4
    # as an initiator on Linux 6.1 saw it
    assert naa_name("0133d870-251f-5acf-a0b8-3e38b5f7f3b7") == "naa.60014050133d870251f5acfa0b83e38b"


def test_names_are_taken_in_lower_case() -> None:
    assert iscsi_name(" IQN.1998-01.com.VMware:ESX1 ", "name") == ESX1
    assert iscsi_name("eui.02004567A425678D", "name") == "eui.02004567a425678d"
