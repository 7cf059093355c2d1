"""Whether a LUN is blank: what is proved, and which LUN it is proved of."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.storage import lun_content
from ansible_collections.libreha.vmware.plugins.module_utils.storage.lun_content import HEAD, TAIL, Exported, exported_by_lio, read_content

SIZE = HEAD + 3 * TAIL + 512  # no whole number of pages
TARGET, NODE1, NODE2 = "iqn.2026-01.lab.libreha:Storage", "iqn.2026-01.lab.libreha:node1", "iqn.2026-01.lab.libreha:node2"


@pytest.fixture
def lun(tmp_path: Path) -> Path:
    path = tmp_path / "lun.img"
    with path.open("wb") as image:
        image.truncate(SIZE)
    return path


def put(path: Path, at: int, data: bytes = b"x") -> None:
    with path.open("r+b") as image:
        image.seek(at)
        image.write(data)


def test_zeros_are_blank(lun: Path) -> None:
    assert read_content(str(lun)) == (SIZE, "")


@pytest.mark.parametrize("at", [0, 511, HEAD - 1, SIZE - TAIL, SIZE - 1])
def test_one_byte_is_not(lun: Path, at: int) -> None:
    put(lun, at)
    size, content = read_content(str(lun))
    assert size == SIZE
    assert content == ("data, the first at byte %d" % at if at < HEAD else "data at its end")


@pytest.mark.parametrize("size", [512, 4096, TAIL - 512, TAIL + 512])
def test_a_small_lun_is_read_as_a_whole(lun: Path, size: int) -> None:
    with lun.open("r+b") as image:
        image.truncate(size)
    assert read_content(str(lun)) == (size, "")
    put(lun, size - 1)
    assert read_content(str(lun))[1]


def test_a_lun_without_a_size_is_not_proved_blank(lun: Path) -> None:
    lun.write_bytes(b"")
    assert read_content(str(lun)) == (0, "no size")


@pytest.mark.parametrize(
    ("at", "data", "name"),
    [
        (512, b"EFI PART", "a partition table (GPT)"),
        (510, b"\x55\xaa", "a partition table (MBR) or a boot sector"),
        (0x438, b"\x53\xef", "an ext file system"),
        (2 << 20, b"\x0d\xd0\x01\xc0", "VMFS"),
    ],
)
def test_what_is_known_has_a_name(lun: Path, at: int, data: bytes, name: str) -> None:
    put(lun, at, data)
    assert read_content(str(lun))[1] == name


def test_what_cannot_be_read_is_not_blank(tmp_path: Path) -> None:
    found = lun_content._content(Exported(TARGET, 0, (str(tmp_path / "gone"),)))
    assert (found.blank, found.content.startswith("cannot be read")) == (False, True)


@pytest.fixture
def lio(tmp_path: Path) -> Path:
    """Two backstores; node1 sees them as the portal group has them, node2 the second as number 0."""
    for number, name in enumerate(("ds1", "ds2")):
        store = tmp_path / "core" / ("iblock_%d" % number) / name
        store.mkdir(parents=True)
        (store / "udev_path").write_text("/dev/vg/%s\n" % name)
        lun = tmp_path / "iscsi" / TARGET / "tpgt_1" / "lun" / ("lun_%d" % number)
        (lun / "statistics").mkdir(parents=True)
        (lun / "0123abcdef").symlink_to(store)
    return tmp_path


def map_lun(lio: Path, node: str, number: int, lun: int) -> None:
    group = lio / "iscsi" / TARGET / "tpgt_1"
    mapped = group / "acls" / node / ("lun_%d" % number)
    mapped.mkdir(parents=True)
    (mapped / "0123abcdef").symlink_to(group / "lun" / ("lun_%d" % lun))


def test_lio_tells_which_path_is_behind_which_number(lio: Path) -> None:
    map_lun(lio, NODE1, 0, 0)
    map_lun(lio, NODE1, 7, 1)
    assert exported_by_lio(str(lio)) == [
        Exported(TARGET.lower(), 0, ("/dev/vg/ds1",)),
        Exported(TARGET.lower(), 1, ("/dev/vg/ds2",)),
        Exported(TARGET.lower(), 7, ("/dev/vg/ds2",)),
    ]


def test_a_number_that_means_two_luns_is_not_blank(lio: Path) -> None:
    map_lun(lio, NODE1, 0, 0)
    map_lun(lio, NODE2, 0, 1)
    first = exported_by_lio(str(lio))[0]
    found = lun_content._content(first)
    assert (found.blank, found.content) == (False, "not the same LUN for every initiator: /dev/vg/ds1, /dev/vg/ds2")
