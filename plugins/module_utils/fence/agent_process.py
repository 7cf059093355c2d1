# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Running one fence agent once: options on its standard input, an end to its time, and no secret in what comes back.

Nothing secret is in the agent's arguments or environment, which other processes can read, nor in a file. Agents that call
ipmitool would give it the password as an argument; those get another program in its place, see :meth:`InMemory.ipmitool`.
"""

from __future__ import annotations

import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from ..errors import LibrehaError
from ..lease.lock import inherited
from . import agent_launcher

PATHS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
MASK = "********"
MOST_SHOWN = 400  # characters of what an agent says

# Takes the place of ipmitool: the arguments without -P and the password, and the password from a file in memory.
IPMITOOL = """#!/bin/sh
password=
for argument do
    shift
    if [ "$password" ]; then password=; continue; fi
    if [ "$argument" = -P ]; then password=follows; continue; fi
    set -- "$@" "$argument"
done
exec %s -f %s "$@"
"""


@dataclass(frozen=True)
class Answer:
    """``code`` is the agent's exit code, None when it was ended for its time was up; ``said`` the end of what it wrote, masked."""

    code: int | None
    out: str = ""
    said: str = ""


class InMemory:
    """Files that exist as long as this object, in memory, for programs that this user starts to open by ``path``."""

    def __init__(self) -> None:
        self._open: list[int] = []

    def path(self, name: str, content: str) -> str:
        writable = os.memfd_create(name)
        os.write(writable, content.encode())
        readable = os.open("/proc/self/fd/%d" % writable, os.O_RDONLY)
        os.close(writable)  # a file that is open for writing cannot be executed
        self._open.append(readable)
        return "/proc/%d/fd/%d" % (os.getpid(), readable)

    def ipmitool(self, real: str, password: str) -> str:
        """A program that is *real* with the password, which no argument holds. ipmitool overwrites its own argument, but not at once."""
        return self.path("ipmitool", IPMITOOL % (shlex.quote(real), self.path("password", password + "\n")))

    def __enter__(self) -> InMemory:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number in self._open:
            os.close(number)


def run_agent(
    path: str,
    options: Mapping[str, str],
    seconds: float,
    *,
    secrets: Iterable[str] = (),
    deadline: float | None = None,
    arguments: Sequence[str] = (),
) -> Answer:
    """Run the agent at *path* with *options* for at most *seconds*.

    Args:
        secrets: Values that must not be in what comes back.
        deadline: For an agent that changes something: seconds of the boot-time clock at which it and all its children end,
            whatever becomes of this process. Needs the right to make a PID namespace.
        arguments: In place of options (for the metadata).
    """
    with InMemory() as memory:
        command = [path, *arguments]
        if deadline is not None:
            launcher = memory.path("launcher", inspect.getsource(agent_launcher))
            command = [sys.executable, "-I", launcher, str(os.getpid()), repr(deadline), path]
        return _run(command, options, seconds, list(secrets), inherited() if deadline is not None else ())


def _run(
    command: Sequence[str], options: Mapping[str, str], seconds: float, secrets: Sequence[str], descriptors: Sequence[int] = ()
) -> Answer:
    try:
        process = subprocess.Popen(  # its own process group, which is killed as a whole
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=descriptors,
            cwd="/",
            env={"PATH": os.pathsep.join(PATHS), "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")},
        )
    except OSError as refused:
        reason = refused.strerror or str(refused)
        raise LibrehaError("%s cannot be started: %s" % (command[0], reason), remedy="look at that file: is it a fence agent?") from None
    lines = "".join("%s=%s\n" % (name, _quoted(value)) for name, value in options.items())
    code: int | None
    try:
        out, error = process.communicate(lines.encode(), timeout=max(seconds, 0.0))
        code = process.returncode
    except subprocess.TimeoutExpired:
        code = None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
    if code is None:
        out, error = _rest(process)
    output = mask(out.decode(errors="replace"), secrets)
    return Answer(code, output, _end_of(mask(error.decode(errors="replace"), secrets) + output))


def _rest(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What it had written when it was killed. A child in a session of its own may hold the pipe open: it is not waited for."""
    try:
        return process.communicate(timeout=1.0)
    except subprocess.TimeoutExpired as late:
        return late.stdout or b"", late.stderr or b""


def _quoted(value: str) -> str:
    """Agents strip blanks at both ends of a line and one pair of quotation marks (fencing.py)."""
    return '"%s"' % value if value != value.strip() or (len(value) > 1 and value[0] == value[-1] == '"') else value


def mask(text: str, secrets: Iterable[str]) -> str:
    """*text* without the *secrets*, also where they are quoted for a shell, a URL or JSON."""
    forms = {
        form for secret in secrets if secret for form in (secret, shlex.quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1])
    }
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _end_of(text: str) -> str:
    """The last lines that say something: no blank ones, no source lines of Python's warnings, no hint at the agent's own help."""
    noise = ("Please use '-h' for usage", "DeprecationWarning", "SyntaxWarning")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(" ")]
    lines = [line for line in lines if not any(word in line for word in noise)]
    shown = "; ".join(lines[-3:])
    return shown[-MOST_SHOWN:] or "nothing"
