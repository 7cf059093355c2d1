# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""rtslib-fb, through which the kernel's target is changed, and its errors in this collection's words."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from typing import Any

from ...errors import LibrehaError
from ...libraries import unusable
from .configfs import ROOT

try:
    import rtslib_fb as rtslib
except ImportError:
    rtslib = None

_SWITCHED_OFF = re.compile(r"^install .*/(false|true)\b.*$", re.MULTILINE)


def need_library() -> Any:
    """The package rtslib_fb. Raises LibrehaError when it is not there."""
    if rtslib is None:
        raise unusable("rtslib_fb")
    return rtslib


def need_kernel() -> Any:
    """rtslib_fb, with the kernel's iSCSI target loaded. Raises LibrehaError when it cannot be loaded.

    What rtslib does by itself is asked of it: mount configfs, load target_core_mod and iscsi_target_mod.
    """
    library = need_library()
    try:
        library.RTSRoot()
        library.FabricModule("iscsi")._check_self()
    except (library.RTSLibError, OSError) as error:
        raise _no_kernel(str(error)) from error
    return library


def need_modules() -> None:
    """For check mode, which loads nothing: whether :func:`need_kernel` could. Raises LibrehaError."""
    need_library()
    if os.path.isdir("%s/iscsi" % ROOT):
        return
    try:  # a dry run would take a module that is switched off by an install line for one that can be loaded
        answer = subprocess.run(("modprobe", "--show-depends", "iscsi_target_mod"), capture_output=True, text=True, check=False)
    except OSError as error:
        raise _no_kernel(str(error)) from error
    if answer.returncode != 0:
        raise _no_kernel(answer.stderr.strip())
    switched_off = _SWITCHED_OFF.search(answer.stdout)
    if switched_off:
        raise _no_kernel("the configuration of modprobe switches it off (%s)" % switched_off.group(0).strip())


def reservations_folder(default: str) -> str:
    """Where the kernel keeps SCSI-3 persistent reservations. It does not make the folder, and without it refuses every PERSISTENT RESERVE
    OUT (NOT READY, seen on Linux 6.1 with Debian's package, which makes none). *default*: rtslib's folder, if the kernel has none yet."""
    try:
        with open(ROOT + "/dbroot", encoding="ascii") as source:
            folder = source.read().strip()
    except OSError:  # not loaded yet: rtslib will set the folder of its saved configuration
        folder = default
    return os.path.join(folder, "pr")


def dump() -> dict[str, Any]:
    """All targets and backstores at run time, as rtslib saves them; an empty target where none is loaded (and none is then)."""
    library = need_library()
    if not os.path.isdir("%s/iscsi" % ROOT):
        return {"storage_objects": [], "targets": []}
    with words("list its targets"):
        content: dict[str, Any] = library.RTSRoot().dump()
    return content


def _no_kernel(why: str) -> LibrehaError:
    return LibrehaError(
        "the kernel's iSCSI target cannot be used: %s" % why,
        remedy="install a kernel with the modules target_core_mod and iscsi_target_mod and load them (modprobe iscsi_target_mod); "
        "containers and some cloud kernels have none",
    )


@contextlib.contextmanager
def words(act: str) -> Iterator[None]:
    """Turn an error of rtslib or of configfs into LibrehaError that names the *act*."""
    library = need_library()
    try:
        yield
    except (library.RTSLibError, OSError) as error:
        raise LibrehaError(
            "the kernel's target refused to %s: %s" % (act, error), remedy="see the kernel's log (dmesg), correct it and run this again"
        ) from error


def iscsi_tpgs() -> list[Any]:
    """rtslib's TPG objects of all iSCSI targets; none where the kernel's target is not loaded (nothing is loaded by asking)."""
    library = need_library()
    if not os.path.isdir("%s/iscsi" % ROOT):
        return []
    with words("list its targets"):
        return [tpg for target in library.FabricModule("iscsi").targets for tpg in target.tpgs]


def node_acl(tpg: Any, initiator: str) -> Any | None:
    """rtslib's NodeACL of *initiator* in *tpg*, None when there is none. Names are compared without regard to case."""
    return next((acl for acl in tpg.node_acls if acl.node_wwn.casefold() == initiator.casefold()), None)


def set_up_acl(tpg: Any, acl: dict[str, Any]) -> None:
    """Create the node ACL that rtslib dumped as *acl*, or complete it. Raises LibrehaError, and then it does not exist."""
    library, initiator = need_library(), acl["node_wwn"]
    errors: list[str] = []
    with words("admit %s" % initiator):
        library.NodeACL.setup(tpg, {**acl, "mapped_luns": [dict(lun) for lun in acl.get("mapped_luns", [])]}, errors.append)
        if errors:
            found = node_acl(tpg, initiator)
            if found is not None:
                found.delete()
    if errors:
        raise LibrehaError(
            "%s could not be admitted to TPG %d of %s: %s" % (initiator, tpg.tag, tpg.parent_target.wwn, "; ".join(errors)),
            remedy="compare its mapped LUNs with the target's LUNs (targetcli ls)",
        )
