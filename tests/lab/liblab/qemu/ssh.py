"""Commands in guests: ssh through a port on 127.0.0.1, with a key and known host keys of this lab alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ..errors import LabError, run
from .record import Record

USER = "root"
ADDRESS = "127.0.0.1"


def make_key(record: Record) -> None:
    if not record.key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(record.key)], what="make the guests' ssh key")


def public_key(record: Record) -> str:
    """The base64 part of the public key."""
    return Path("%s.pub" % record.key).read_text(encoding="ascii").split()[1]


def options(record: Record, name: str, connect_seconds: int = 30) -> list[str]:
    """ssh's options for one guest, without its port. A guest's host key is learnt at first contact and must stay the same.

    All commands share one connection, as a login costs an emulated machine a second or two. It ends with the guest's QEMU.
    """
    settings = {
        "BatchMode": "yes",
        "ConnectTimeout": str(connect_seconds),
        "ControlMaster": "auto",
        "ControlPath": str(record.ssh_control(name)),
        "ControlPersist": "yes",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": name,
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": str(record.known_hosts),
    }
    return ["-F", "/dev/null", "-i", str(record.key), *(word for item in settings.items() for word in ("-o", "%s=%s" % item))]


def argv(record: Record, name: str, command: str, connect_seconds: int = 30) -> list[str]:
    """ssh's whole command line; an empty command is a shell."""
    port = record.guest(name).ports[22]
    return ["ssh", *options(record, name, connect_seconds), "-p", str(port), "%s@%s" % (USER, ADDRESS), *([command] if command else [])]


def execute(
    record: Record, name: str, command: str, *, text: str | None = None, timeout: float | None = None, connect_seconds: int = 30
) -> subprocess.CompletedProcess[str]:
    """Run a shell command as root in a guest; exit status 255 is ssh's own failure. Raises LabError when ``timeout`` (s) is over."""
    try:
        return subprocess.run(
            argv(record, name, command, connect_seconds),
            input="" if text is None else text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LabError("%s gave no answer within %g s to: %s" % (name, timeout or 0, command)) from error


def copy(record: Record, name: str, source: Path, destination: str, timeout: float | None = None) -> None:
    """Copy a file of the machine into a guest, with its mode."""
    port = record.guest(name).ports[22]
    run(
        ["scp", "-q", "-p", *options(record, name), "-P", str(port), str(source), "%s@%s:%s" % (USER, ADDRESS, destination)],
        what="copy %s to %s" % (source, name),
        timeout=timeout or 300.0,
    )
