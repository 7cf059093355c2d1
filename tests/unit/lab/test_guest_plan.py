"""QEMU guests follow from their names, and their image from its recipe."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "lab"))

from liblab.errors import LabError  # noqa: E402
from liblab.qemu import image, machine, record  # noqa: E402
from liblab.qemu.plan import guest_named, is_guest_name  # noqa: E402


def test_a_name_says_what_a_guest_is() -> None:
    storage, node = guest_named("storage"), guest_named("node12")
    assert (storage.role, storage.addresses) == ("storage", {"stor0": "192.0.2.1", "stor1": "198.51.100.1", "lan0": "203.0.113.1"})
    assert (node.role, node.addresses["stor0"], node.initiator) == ("initiator", "192.0.2.112", "iqn.2026-01.lab.libreha:node12")
    assert storage.disks and not node.disks and 443 in node.ports


def test_only_a_users_machine_reaches_package_servers() -> None:
    def restricted(name: str) -> bool:
        guest, where = guest_named(name), Path("/")
        running = record.Running(name, "/", dict.fromkeys(guest.ports, 20001))
        words = machine.command(record.Record(where, where, dict.fromkeys(guest.addresses, "")), guest, running, "")
        (network,) = [word for word in words if word.startswith("user,")]
        return "restrict=on" in network

    assert [restricted(name) for name in ("storage", "node1", "user")] == [True, True, False]


@pytest.mark.parametrize("name", ["", "node", "node0", "node100", "storage1", "esx1", "target", "node1\n", "user2"])
def test_any_other_name_is_refused(name: str) -> None:
    assert not is_guest_name(name)
    with pytest.raises(LabError, match="There is no guest"):
        guest_named(name)


def test_no_two_guests_share_an_address() -> None:
    names = ["user", "storage"] + ["storage%d" % number for number in range(2, 100)] + ["node%d" % number for number in range(1, 100)]
    cards = [(guest_named(name).addresses["stor0"], guest_named(name).mac("stor0")) for name in names]
    assert len({address for address, _mac in cards}) == len({mac for _address, mac in cards}) == len(names)


def test_labs_have_cables_of_their_own() -> None:
    assert len({segment for _lab in range(20) for segment in machine.new_segments().values()}) == 60


def test_the_images_hash_follows_every_file_of_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "RECIPE", tmp_path)
    (tmp_path / "root").mkdir()
    seen = {image.inputs_hash()}
    file = tmp_path / "root" / "file"
    for change in (
        lambda: file.write_text("one"),
        lambda: file.write_text("two"),
        lambda: file.chmod(0o755),
        lambda: file.rename(tmp_path / "x"),
    ):
        change()
        seen.add(image.inputs_hash())
    assert len(seen) == 5


def test_a_build_that_fails_shows_the_end_of_its_log_and_leaves_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    build = recipe / "build"
    build.write_text('#!/bin/sh\necho begun >"$1/disk.raw"\necho "no such package: lio" >&2\nexit 7\n')
    build.chmod(0o755)
    monkeypatch.setattr(image, "RECIPE", recipe)
    monkeypatch.setattr(image, "ENCLOSED", ())  # needs root
    monkeypatch.setattr(image, "install_tools", lambda: None)
    monkeypatch.setenv("LIBREHA_LAB_IMAGES", str(tmp_path / "images"))
    with pytest.raises(LabError, match=r"(?s)build ended with 7\..*no such package: lio"):
        image.ready()
    assert [path.name for path in (tmp_path / "images").iterdir() if path.is_dir()] == []


def test_the_record_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    lab = tmp_path / "guests"
    lab.mkdir()
    before = record.Record(lab, tmp_path / "disks", machine.new_segments())
    before.guests["node1"] = record.Running("node1", "/image", {22: 20001, 443: 20002}, None, 17, ["stor1"])
    before.save()
    assert record.load(lab) == before


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "guests.json").write_text('{"disks": "/x"')
    with pytest.raises(LabError, match="guests.json cannot be understood"):
        record.load(tmp_path)
