"""The records on the LUN, read from its backing file (layout: tests/lab/README.md). Shares no code with what wrote them."""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import LabError
from .plan import EXTENT_SECTORS, FIRST_EXTENT_SECTOR, SECTOR

FIRST_RECORD = 16  # sector inside an extent
HEAD = struct.Struct("<8sIIQQ32s16s32s")
SIGNED = SECTOR - 32
LUN_MAGIC = b"LIBREHALAB1\0"
CHUNK = 2048 * SECTOR


@dataclass(frozen=True)
class Record:
    """One record as it lies on the LUN; ``digest`` is the SHA-256 of all its 512 bytes, which the next record repeats."""

    extent: int
    sequence: int
    boottime_ns: int
    host: str
    execution: str  # 32 hexadecimal digits
    previous: bytes
    digest: bytes


@dataclass
class Extent:
    """A VM's disk: records by position (position n should hold sequence n), and the positions that hold something else."""

    records: dict[int, Record] = field(default_factory=dict)
    corrupt: set[int] = field(default_factory=set)


def parse(raw: bytes) -> Record | None:
    """The record in a sector, or None when it is not a whole and valid one."""
    magic, extent, _zero, sequence, boottime_ns, host, execution, previous = HEAD.unpack_from(raw)
    if magic != b"LHRECORD" or hashlib.sha256(raw[:SIGNED]).digest() != raw[SIGNED:]:
        return None
    name = host.rstrip(b"\0").decode("utf-8", "replace")
    return Record(extent, sequence, boottime_ns, name, execution.hex(), previous, hashlib.sha256(raw).digest())


def _used(lun: int, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a sparse file that hold anything, between two offsets."""
    at = begin
    while at < end:
        try:
            at = os.lseek(lun, at, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing more
            return
        if at >= end:
            return
        stop = min(end, os.lseek(lun, at, os.SEEK_HOLE))
        yield at, stop
        at = stop


def read_extent(lun: int, number: int) -> Extent:
    """All records of one extent. A sector that is just being written may look torn: such a one is looked at again."""
    begin = (FIRST_EXTENT_SECTOR + number * EXTENT_SECTORS + FIRST_RECORD) * SECTOR
    end = begin + (EXTENT_SECTORS - FIRST_RECORD) * SECTOR
    empty = bytes(SECTOR)
    found = Extent()
    for start, stop in _used(lun, begin, end):
        start -= (start - begin) % SECTOR
        while start < stop:
            chunk = os.pread(lun, min(CHUNK, stop - start), start)
            if not chunk:
                break
            for offset in range(0, len(chunk) - SECTOR + 1, SECTOR):
                raw = chunk[offset : offset + SECTOR]
                if raw == empty:
                    continue
                position = (start + offset - begin) // SECTOR
                record = parse(raw)
                if record is None:
                    found.corrupt.add(position)
                else:
                    found.records[position] = record
            start += len(chunk)
    if found.corrupt:
        time.sleep(0.3)
        for position in sorted(found.corrupt):
            record = parse(os.pread(lun, SECTOR, begin + position * SECTOR))
            if record is not None:
                found.records[position] = record
                found.corrupt.discard(position)
    return found


def read(path: Path, extents: list[int]) -> dict[int, Extent]:
    """The given extents of a LUN's backing file. Raises LabError when it is not the lab's."""
    try:
        lun = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise LabError("The LUN's backing file cannot be read: %s" % error) from error
    try:
        if os.pread(lun, len(LUN_MAGIC), 0) != LUN_MAGIC:
            raise LabError("%s is not a LUN of this lab: sector 0 does not begin with LIBREHALAB1." % path)
        return {number: read_extent(lun, number) for number in extents}
    finally:
        os.close(lun)
