"""What the role iscsi_target would make of disks and volumes, and what it refuses, each by the variable's name."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry import role_iscsi_target as described
from ansible_collections.libreha.vmware.plugins.module_utils.storage.layout import Layout, make_layout, read_found

GIB = 1 << 30
EXTENT = 4 << 20


def wanted(**changes: Any) -> dict[str, Any]:
    return {
        "driver": "lio",
        "name": "iqn.2026-01.com.example:storage1",
        "volume_groups": [{"name": "vg", "disks": ["/dev/disk/by-id/one"]}],
        "luns": [{"name": "ds1", "number": 0, "volume_group": "vg", "size": "2GiB"}],
        "portals": [{"address": "192.0.2.1"}],
        "initiators": [{"name": "iqn.1998-01.com.vmware:esx1", "chap": {"secret": "a-secret-of-16-c"}}],
        "thin_overcommit": 1.0,
        "nopin_timeout": 3,
        "nopin_response_timeout": 3,
        "queue_depth": 64,
        "group_attributes": {},
        "group_parameters": {},
        "firewall": "none",
        "networks": [],
        "snapshot_luns": [],
        "lacking": [],
        **changes,
    }


def machine(
    *,
    use: str = "",
    signature: str = "",
    size: int = 4 * GIB,
    device: str = "/dev/vdb",
    owner: str = "",
    lvs: tuple[tuple[str, int, str, str], ...] = (),
    free: int = 0,
    **changes: Any,
) -> dict[str, Any]:
    """One disk of 4 GiB; with *owner* it is in that group, which has the volumes *lvs* (name, size, pool, layout) and *free* bytes."""
    lvm: dict[str, Any] = {"vg": [], "pv": [], "lv": []}
    if owner:
        lvm["pv"] = [{"pv_name": device, "vg_name": owner}]
        lvm["vg"] = [{"vg_name": owner, "vg_free": str(free), "vg_extent_size": str(EXTENT)}]
        lvm["lv"] = [
            {"vg_name": owner, "lv_name": name, "lv_size": str(bytes_), "pool_lv": pool, "lv_layout": layout}
            for name, bytes_, pool, layout in lvs
        ]
    return {
        "disks": [{"path": "/dev/disk/by-id/one", "device": device, "size": size, "use": use, "signature": signature}],
        "lvm": lvm,
        "addresses": ["127.0.0.1", "192.0.2.1"],
        "missing_kernel_modules": [],
        "firewalld": False,
        **changes,
    }


def layout(description: dict[str, Any], found: dict[str, Any]) -> Layout:
    return make_layout(description, read_found(found))


THIN = {
    "volume_groups": [{"name": "vg", "disks": ["/dev/disk/by-id/one"], "thin_pool": {"name": "pool", "size": "3GiB"}}],
    "luns": [{"name": "ds1", "number": 0, "volume_group": "vg", "size": "2GiB", "thin": True}],
}


def test_an_empty_disk_becomes_a_group_with_its_volumes() -> None:
    made = layout(wanted(), machine())
    assert made.problems == []
    assert made.volume_groups == [{"name": "vg", "disks": ["/dev/disk/by-id/one"]}]
    assert made.volumes == [{"volume_group": "vg", "name": "ds1", "bytes": 2 * GIB, "thin_pool": ""}]


def test_sizes_are_rounded_up_to_whole_extents() -> None:
    odd = wanted(luns=[{"name": "ds1", "number": 0, "volume_group": "vg", "size": "5MiB"}])
    assert layout(odd, machine()).volumes[0]["bytes"] == 2 * EXTENT
    assert layout(odd, machine(owner="vg", lvs=(("ds1", 2 * EXTENT, "", "linear"),))).problems == []


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"device": ""}, "there is no block device /dev/disk/by-id/one"),
        ({"use": "/dev/vdb is mounted on /srv"}, "is in use on this machine: /dev/vdb is mounted on /srv"),
        ({"use": "it has partitions (vdb1)"}, "it has partitions"),
        ({"signature": "ext4"}, "is not empty, it carries ext4"),
        ({"signature": "a partition table (gpt)"}, "carries a partition table"),
        ({"owner": "other", "signature": "LVM2_member"}, "belongs to the volume group other"),
    ],
)
def test_a_disk_that_carries_anything_is_refused(found: dict[str, Any], says: str) -> None:
    (problem,) = [one for one in layout(wanted(luns=[]), machine(**found)).problems if "disks" in one]
    assert problem.startswith("iscsi_target_volume_groups[0].disks: ")
    assert says in problem


def test_a_physical_volume_of_no_group_is_refused() -> None:
    found = machine(signature="LVM2_member")
    found["lvm"]["pv"] = [{"pv_name": "/dev/vdb", "vg_name": ""}]
    assert "is not empty, it carries LVM2_member" in layout(wanted(), found).problems[0]


def test_a_disk_of_its_own_group_is_no_problem() -> None:
    found = machine(owner="vg", signature="LVM2_member", use="vg-ds1 lies on it", lvs=(("ds1", 2 * GIB, "", "linear"),), free=GIB)
    assert layout(wanted(), found).problems == []


def test_a_group_of_that_name_on_other_disks_is_refused() -> None:
    found = machine()
    found["lvm"]["pv"] = [{"pv_name": "/dev/vdx", "vg_name": "vg"}]
    found["lvm"]["vg"] = [{"vg_name": "vg", "vg_free": str(9 * GIB), "vg_extent_size": str(EXTENT)}]
    assert "a volume group vg is there already, on other disks (/dev/vdx)" in layout(wanted(), found).problems[0]


def test_what_does_not_fit_is_refused_with_both_figures() -> None:
    large = wanted(luns=[{"name": "ds1", "number": 0, "volume_group": "vg", "size": "5GiB"}])
    (problem,) = layout(large, machine()).problems
    assert "volume group vg needs 5.00 GiB more, and 4.00 GiB is free" in problem
    assert layout(wanted(luns=[{"name": "a", "number": 0, "volume_group": "vg", "size": "4GiB"}]), machine()).problems  # the label
    grown = machine(owner="vg", lvs=(("ds1", 2 * GIB, "", "linear"),), free=2 * GIB)
    assert "needs 3.00 GiB more, and 2.00 GiB is free" in layout(large, grown).problems[0]
    assert layout(large, machine(owner="vg", lvs=(("ds1", 2 * GIB, "", "linear"),), free=3 * GIB)).problems == []


def test_a_volume_is_never_made_smaller() -> None:
    found = machine(owner="vg", lvs=(("ds1", 3 * GIB, "", "linear"),))
    (problem,) = layout(wanted(), found).problems
    assert "iscsi_target_luns[0] (ds1): the volume has 3.00 GiB, its size says 2.00 GiB. A volume is never made smaller" in problem


def test_a_volume_is_not_turned_into_the_other_kind() -> None:
    found = machine(owner="vg", lvs=(("ds1", 2 * GIB, "", "linear"), ("pool", 3 * GIB, "", "thin,pool")))
    assert "is thick, not in pool" in layout(wanted(**THIN), found).problems[0]


def test_a_thin_pool_is_made_with_room_for_its_metadata() -> None:
    made = layout(wanted(**THIN), machine())
    assert made.problems == []
    assert made.thin_pools == [{"volume_group": "vg", "name": "pool", "bytes": 3 * GIB}]
    assert made.volumes[0]["thin_pool"] == "pool"
    tight = {**THIN, "volume_groups": [{"name": "vg", "disks": ["/dev/disk/by-id/one"], "thin_pool": {"name": "pool", "size": "4188MiB"}}]}
    assert layout(wanted(**tight), machine(size=4188 * (1 << 20) + EXTENT)).problems


def test_a_pool_that_grew_by_itself_stays_as_it_is() -> None:
    found = machine(owner="vg", lvs=(("ds1", 2 * GIB, "pool", "thin,sparse"), ("pool", 4 * GIB, "", "thin,pool")))
    made = layout(wanted(**THIN), found)
    assert made.problems == []
    assert made.thin_pools[0]["bytes"] == 4 * GIB


def test_thin_volumes_beyond_their_pool_need_the_word() -> None:
    more = {**THIN, "luns": [{"name": "ds1", "number": 0, "volume_group": "vg", "size": "4GiB", "thin": True}]}
    (problem,) = layout(wanted(**more), machine()).problems
    assert "may grow to 4.00 GiB" in problem
    assert "iscsi_target_thin_overcommit" in problem
    assert layout(wanted(**more, thin_overcommit=1.5), machine()).problems == []


@pytest.mark.parametrize(
    ("change", "found", "says"),
    [
        ({"portals": [{"address": "192.0.2.77"}]}, {}, "iscsi_target_portals[0].address is 192.0.2.77: this machine does not have"),
        ({}, {"missing_kernel_modules": ["iscsi_target_mod"]}, "lacks the modules iscsi_target_mod"),
        ({"firewall": "nftables"}, {}, "iscsi_target_networks is empty"),
        ({"firewall": "auto"}, {"firewalld": True}, "iscsi_target_networks is empty"),
        ({"networks": ["192.0.2.1/24"]}, {}, "iscsi_target_networks: 192.0.2.1/24 has host bits set"),
        ({"lacking": ["lvm2"]}, {}, "iscsi_target_manage_packages is false, and these packages are missing: lvm2"),
        ({"snapshot_luns": ["ds1"]}, {}, "iscsi_target_snapshot_luns names ds1"),
        ({"luns": [{"name": "ds1", "number": 0, "volume_group": "vg", "disk": "/dev/x", "size": "1GiB"}]}, {}, "it has 2"),
        (
            {"luns": [{"name": "ds1", "number": 0, "volume_group": "vh", "size": "1GiB"}]},
            {},
            "is neither in iscsi_target_volume_groups nor",
        ),
        ({"luns": [{"name": "ds1", "number": 0, "volume_group": "vg", "size": "a lot"}]}, {}, "iscsi_target_luns[0].size is no size"),
        ({"luns": [{"name": "ds1", "number": 0, "volume_group": "vg", "size": "1GiB", "thin": True}]}, {}, "has no thin_pool"),
        ({"luns": [{"name": "ds1", "number": 0, "disk": "/dev/disk/by-id/one"}]}, {}, "is also in iscsi_target_volume_groups[0].disks"),
    ],
)
def test_what_else_is_wrong_is_named(change: dict[str, Any], found: dict[str, Any], says: str) -> None:
    problems = layout(wanted(**change), machine(**found)).problems
    assert [one for one in problems if says in one], problems


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "iqn.2026-13.com.example:storage1"}, "iscsi_target_name is no iSCSI name"),
        ({"initiators": [{"name": "iqn.1998-01.com:esx1"}]}, "iscsi_target_initiators[0].name is no iSCSI name"),
        (
            {"initiators": [{"name": "iqn.1998-01.com.vmware:esx1", "chap": {"secret": "short"}}]},
            "iscsi_target_initiators[0].chap.secret of iqn.1998-01.com.vmware:esx1 has 5 characters",
        ),
        ({"portals": [{"address": "storage1"}]}, "iscsi_target_portals[0].address is no IP address"),
        ({"nopin_timeout": 1}, "iscsi_target_nopin_timeout is 1"),
        (
            {"luns": [{"name": "a", "number": 0, "disk": "/dev/x"}, {"name": "b", "number": 0, "disk": "/dev/y"}]},
            "iscsi_target_luns[1].number",
        ),
        ({"luns": [{"name": "a", "number": 0, "file": "/a.img"}]}, "iscsi_target_luns[0].size is missing"),
    ],
)
def test_what_is_wrong_in_the_description_has_the_variable_s_name(change: dict[str, Any], says: str) -> None:
    (problem,) = described.problems(wanted(**change))
    assert problem.startswith(says)
    assert "tpgs" not in problem


def test_everything_that_is_wrong_in_the_description_is_a_problem_of_its_own() -> None:
    found = described.problems(wanted(name="storage", portals=[{"address": "storage1"}], nopin_timeout=1))
    assert [text.split(" is ")[0] for text in found] == [
        "iscsi_target_name",
        "iscsi_target_portals[0].address",
        "iscsi_target_nopin_timeout",
    ]


def test_a_sound_description_has_no_problem_and_its_secret_goes_to_the_module_only() -> None:
    assert described.problems(wanted()) == []
    options = described.module_options(wanted())
    assert options["tpgs"][0]["acls"] == [{"initiator": "iqn.1998-01.com.vmware:esx1", "chap": {"secret": "a-secret-of-16-c"}}]
    assert options["backstores"] == [{"name": "ds1", "type": "block", "path": "/dev/vg/ds1"}]


def test_luns_without_a_volume_are_left_out_of_the_look_ahead() -> None:
    both = wanted(
        luns=[{"name": "a", "number": 0, "disk": "/dev/x"}, {"name": "b", "number": 1, "volume_group": "vg", "size": "1GiB"}],
        initiators=[{"name": "iqn.1998-01.com.vmware:esx1", "luns": [{"lun": 0}, {"lun": 1}]}],
    )
    options = described.module_options(both, frozenset({"b"}))
    assert [store["name"] for store in options["backstores"]] == ["a"]
    assert options["tpgs"][0]["acls"][0]["luns"] == [{"lun": 0}]


def test_a_disk_s_unit_has_the_name_that_systemd_gives_it() -> None:
    """Compared with systemd-escape --path --suffix=device of systemd 252."""
    assert described.device_unit("/dev/vg_a/ds-1") == r"dev-vg_a-ds\x2d1.device"
    assert described.device_unit("/dev/disk/by-id/nvme-A:1_x+y") == r"dev-disk-by\x2did-nvme\x2dA:1_x\x2by.device"


def test_who_has_no_acl_is_not_shown_the_target() -> None:
    assert described.module_options(wanted())["tpgs"][0]["attributes"] == {"demo_mode_discovery": 0}
    assert described.module_options(wanted(group_attributes={"demo_mode_discovery": 1}))["tpgs"][0]["attributes"] == {
        "demo_mode_discovery": 1
    }
