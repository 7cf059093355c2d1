# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running the system's own tools, which may be missing, hang on a dying disk, or print what nobody expected."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...parallel import Late, Outcome, Raised

PACKAGES = {"lvs": "lvm2", "lvmconfig": "lvm2", "smartctl": "smartmontools"}
_ALSO = "/usr/local/sbin:/usr/sbin:/sbin"  # where a login without a shell of its own does not look


class CannotTell(Exception):
    """Something could not be read: ``reason``, and what a person can do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


def failure(outcome: Outcome[Any]) -> CannotTell | None:
    """Why a look has no result; None where it has. One tool's strange answer must not blind us to the others, so what nobody
    foresaw is a reason, too."""
    if isinstance(outcome, Late):
        return CannotTell("it was not read within %g s" % outcome.after, "see dmesg: a disk that does not answer may hold it up")
    if isinstance(outcome, Raised):
        error = outcome.error
        return error if isinstance(error, CannotTell) else CannotTell("unexpected %s: %s" % (type(error).__name__, error))
    return None


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    error: str

    @property
    def words(self) -> str:
        """What it said beside its report, on one line that an alarm can show."""
        return "; ".join(dict.fromkeys(line.strip() for line in self.error.splitlines() if line.strip()))[:300] or "no message"


def installed(tool: str) -> str | None:
    """The tool's path."""
    return shutil.which(tool, path="%s:%s" % (os.environ.get("PATH", ""), _ALSO))


def ask(argv: Sequence[str], seconds: float) -> Answer:
    """Run a tool that only reads. Raises CannotTell when it is missing or does not end in time.

    It gets a session of its own, so that what it started itself is ended with it. A child that the kernel holds (waiting for a
    disk) outlives its kill; it is not waited for.
    """
    path = installed(argv[0])
    if path is None:
        raise CannotTell("%s is not installed" % argv[0], "install the package %s" % PACKAGES.get(argv[0], argv[0]))
    environment = {**os.environ, "LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1"}
    try:
        child = subprocess.Popen(
            [path, *argv[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotTell("%s cannot be run: %s" % (path, error.strerror or error), "see whether the file is damaged") from error
    try:
        out, said = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        raise CannotTell(
            "%s did not end within %g s" % (argv[0], seconds), "run it by hand there: a disk that does not answer may hold it up, see dmesg"
        ) from error
    return Answer(child.returncode, out.decode(errors="replace"), said.decode(errors="replace").strip())


def read_json(tool: str, text: str) -> dict[str, Any]:
    """A tool's JSON report. Raises CannotTell on anything else."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        shown = text.strip()[:60] or "nothing"
        raise CannotTell("%s printed %r instead of a JSON report" % (tool, shown), "update the package %s" % PACKAGES.get(tool, tool))
    return found


def read_text(path: str) -> str:
    """A kernel attribute's text; "" when it is not there, or has none to tell."""
    try:
        with open(path, encoding="utf-8", errors="replace") as source:
            return source.read().strip()
    except OSError:
        return ""


def number(text: Any) -> float | None:
    """A number in a report; None where the tool left it out."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
