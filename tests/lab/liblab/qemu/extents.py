"""The LUN of hosts in guests as it is before its first use: its mark, and each VM's files in the VM's own extent (tests/lab/README.md)."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from ..datastore import vmdk, vmx
from ..lun import LUN_MAGIC
from ..plan import EXTENT_SECTORS, FIRST_EXTENT_SECTOR, SECTOR, Options, Vm

SLOT = 7 * SECTOR
HEAD = struct.Struct("<8sQIxxxx32s")


def file_area(folder: str, files: dict[str, str], generation: int = 1) -> bytes:
    """One slot: magic, generation, length, SHA-256 of the latter two and the content, the content as JSON."""
    content = json.dumps({"folder": folder, "files": files}).encode()
    if len(content) > SLOT - HEAD.size:
        raise ValueError("the files of %s do not fit into a file area" % folder)
    digest = hashlib.sha256(struct.pack("<QIxxxx", generation, len(content)) + content).digest()
    return (HEAD.pack(b"LHFILES1", generation, len(content), digest) + content).ljust(SLOT, b"\0")


def write(path: Path, vms: Sequence[Vm], options: Options) -> None:
    """Onto the file behind the LUN, which nobody exports yet."""
    with open(path, "r+b") as lun:
        lun.write(LUN_MAGIC.ljust(16, b"\0") + struct.pack("<I", len(vms)))
        for vm in vms:
            files = {"%s.vmx" % vm.name: vmx(vm, options), "%s.vmdk" % vm.name: vmdk(vm)}
            lun.seek((FIRST_EXTENT_SECTOR + vm.extent * EXTENT_SECTORS + 1) * SECTOR)
            lun.write(file_area(vm.name, files))
        lun.flush()
        os.fsync(lun.fileno())
