# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The disks and files that the target of this machine exports, now or after its next start."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass

from ...errors import LibrehaError
from ...storage.lio import saved as lio_saved
from ...storage.lio.configfs import ROOT
from ...storage.tgt import targets_conf
from ...storage.tgt.control import Control, Mode, NotServing, Op
from ...storage.tgt.driver import DEFAULT_SAVED_CONFIG
from .tools import read_text

_TGT_RUNNING = re.compile(r"^ {12}Backing store path: (/.*)$", re.MULTILINE)
_TGT_SAVED = re.compile(r'^\s*<?(?:backing-store|direct-store)[\s=]+"?([^\s">]+)')


@dataclass(frozen=True)
class Exported:
    """Paths as they are configured. ``saved`` is None where the saved configuration, ``running`` where the target cannot be asked."""

    running: frozenset[str] | None = frozenset()
    saved: frozenset[str] | None = frozenset()

    @property
    def files(self) -> list[str]:
        """The regular files that the running target exports."""
        return sorted(path for path in self.running or () if os.path.isfile(path))

    @property
    def everything(self) -> frozenset[str] | None:
        """All paths and where their links lead to, None when they are not all known."""
        if self.running is None or self.saved is None:
            return None
        return frozenset(one for path in self.running | self.saved for one in (path, os.path.realpath(path)))


def read_exported(driver: str, control_port: int, saved_config: str, seconds: float) -> Exported:
    """Nothing is raised: what the target does not tell, the look at its sessions says."""
    if driver == "lio":
        running: frozenset[str] | None = frozenset(filter(None, map(read_text, glob.glob("%s/core/*/*/udev_path" % ROOT))))
        try:
            content = lio_saved.read(saved_config or lio_saved.default_path())
            return Exported(running, frozenset(str(store["dev"]) for store in content.get("storage_objects", ()) if store.get("dev")))
        except (LibrehaError, AttributeError, TypeError):
            return Exported(running, None)
    try:
        running = frozenset(_TGT_RUNNING.findall(Control(control_port, seconds).ask(Mode.TARGET, Op.SHOW).text))
    except NotServing:
        running = frozenset()
    except LibrehaError:
        running = None
    try:
        lines = [line for file in targets_conf.read(saved_config or DEFAULT_SAVED_CONFIG).files.values() for line in file]
    except LibrehaError:
        return Exported(running, None)
    return Exported(running, frozenset(match.group(1) for match in map(_TGT_SAVED.match, lines) if match))
