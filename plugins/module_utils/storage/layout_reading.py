# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a storage server has before anything is built on it: disks and who uses them, LVM, addresses, modules of the kernel.

It reads only, and it needs nothing that the role installs: where a program is missing there is nothing of its kind.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import LibrehaError
from .target.preflight import signature

_SECONDS = 60
_PLACES = "/usr/sbin:/sbin:/usr/bin:/bin"


def read_layout(paths: Iterable[str], kernel_modules: Sequence[str]) -> dict[str, Any]:
    """JSON of it all, as layout.read_found takes it. Raises LibrehaError where something is there and does not answer."""
    return {
        "disks": [_disk(path) for path in dict.fromkeys(paths)],
        "lvm": _lvm(),
        "addresses": _addresses(),
        "missing_kernel_modules": [name for name in kernel_modules if not _kernel_has(name)],
        "firewalld": _firewalld(),
    }


def _disk(path: str) -> dict[str, Any]:
    """``device`` is "" where there is no block device."""
    device = os.path.realpath(path)
    found: dict[str, Any] = {"path": path, "device": "", "size": 0, "use": "", "signature": ""}
    with contextlib.suppress(OSError):
        if stat.S_ISBLK(os.stat(device).st_mode):
            found.update(device=device, size=_size(device), use=_use(device), signature=signature(device))
    return found


def _size(device: str) -> int:
    with open("/sys/class/block/%s/size" % os.path.basename(device), encoding="ascii") as source:
        return int(source.read()) * 512


def _use(device: str) -> str:
    """In words who uses the device or a part of it, "" when nobody does."""
    folder = os.path.realpath("/sys/class/block/%s" % os.path.basename(device))
    parts = [name for name in sorted(os.listdir(folder)) if os.path.exists("%s/%s/partition" % (folder, name))]
    for name in [os.path.basename(device), *parts]:
        for line in _lines("/proc/self/mounts"):
            source, _blank, rest = line.partition(" ")
            if source.startswith("/") and os.path.realpath(source) == "/dev/" + name:
                return "/dev/%s is mounted on %s" % (name, rest.split(" ")[0])
        if any(line.split()[0] == "/dev/" + name for line in _lines("/proc/swaps")):
            return "/dev/%s is swap" % name
    if parts:
        return "it has partitions (%s)" % ", ".join(parts)
    holders = sorted(os.listdir(folder + "/holders"))
    if holders:
        return "%s lies on it" % ", ".join(_holder(name) for name in holders)
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK))
    except OSError as error:
        if error.errno == errno.EBUSY:
            return "a program or the kernel holds it (another target?)"
    return ""


def _holder(name: str) -> str:
    return next(iter(_lines("/sys/class/block/%s/dm/name" % name)), name)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return source.read().splitlines()
    except OSError:
        return []


def _lvm() -> dict[str, Any]:
    """``vg``, ``pv`` and ``lv``: rows of lvm's report, sizes in bytes. A row of pv has the name of its group, "" for none."""
    found: dict[str, Any] = {"vg": [], "pv": [], "lv": []}
    report = _json("lvm", "fullreport", "--reportformat", "json", "--units", "b", "--nosuffix") or {}
    for part in report.get("report", []):
        group = next((row["vg_name"] for row in part.get("vg", [])), "")
        found["vg"] += [_some(row, "vg_name", "vg_free", "vg_extent_size") for row in part.get("vg", []) if row["vg_name"]]
        found["pv"] += [{"pv_name": os.path.realpath(row["pv_name"]), "vg_name": group} for row in part.get("pv", [])]
        found["lv"] += [{"vg_name": group, **_some(row, "lv_name", "lv_size", "pool_lv", "lv_layout")} for row in part.get("lv", [])]
    return found


def _some(row: dict[str, str], *keys: str) -> dict[str, str]:
    return {key: row[key].strip("[]") for key in keys}


def _addresses() -> list[str]:
    links = _json("ip", "-json", "address", "show") or []
    return sorted({address["local"] for link in links for address in link.get("addr_info", []) if "local" in address})


def _kernel_has(name: str) -> bool:
    if os.path.isdir("/sys/module/%s" % name):
        return True
    program = shutil.which("modinfo", path=_PLACES)
    return program is not None and _run(program, "--field", "name", name).returncode == 0


def _firewalld() -> bool:
    program = shutil.which("systemctl", path=_PLACES)
    return program is not None and _run(program, "is-active", "--quiet", "firewalld.service").returncode == 0


def _json(name: str, *arguments: str) -> Any:
    """The program's answer, None where it is not installed."""
    program = shutil.which(name, path=_PLACES)
    if program is None:
        return None
    answer = _run(program, *arguments)
    try:
        if answer.returncode == 0:
            return json.loads(answer.stdout or "null")
        trouble = answer.stderr.strip()
    except ValueError as error:
        trouble = str(error)
    raise LibrehaError(
        "%s %s did not answer: %s" % (name, arguments[0], trouble), remedy="run the task as root, and see what %s says" % name
    )


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LibrehaError("%s did not answer: %s" % (command[0], error), remedy="see whether a disk hangs (dmesg)") from error
