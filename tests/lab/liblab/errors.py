"""The lab's one error type and the one way to run a command."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class LabError(Exception):
    """What was tried, what came back and what to do next, in words for the person at the terminal."""


def few(names: Sequence[str], most: int = 10) -> str:
    """Names for a message; of many only the first ones and how many more there are."""
    more = ", ... (%d in all)" % len(names) if len(names) > most else ""
    return ", ".join(names[:most]) + more


def run(argv: Sequence[str], *, what: str = "", remedy: str = "", timeout: float = 60.0, cwd: str | None = None) -> str:
    """Run a command and return its standard output. Raises LabError with the command's own words if it fails."""
    purpose = what or "run %s" % argv[0]
    hint = " %s" % remedy if remedy else ""
    try:
        done = subprocess.run(list(argv), capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False)
    except FileNotFoundError as error:
        raise LabError("Could not %s: %s is not installed.%s" % (purpose, error.filename or argv[0], hint)) from error
    except subprocess.TimeoutExpired as error:
        raise LabError("Could not %s: '%s' gave no answer within %g s.%s" % (purpose, " ".join(argv), timeout, hint)) from error
    if done.returncode != 0:
        answer = (done.stderr.strip() or done.stdout.strip() or "no message")[-2000:]
        raise LabError("Could not %s: '%s' ended with %d: %s%s" % (purpose, " ".join(argv), done.returncode, answer, hint))
    return done.stdout
