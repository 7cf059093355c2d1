# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asks the resident monitor over its socket, and reads the state database where it does not answer.

The protocol: a Unix stream socket, one JSON object a line in each direction. ``{"request": "status"}`` is answered by the form of
``status.Status``, ``{"request": "recording"}`` by ``{"recording": BASE64}`` (``looks``), and what cannot be answered by an object with
``error``. Who may ask is what the socket's permissions say; ``chap_secret`` and ``step_down`` are heard from root, and from the monitor's
own user.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from .. import clock
from ..decide.json_form import from_dict
from ..errors import LibrehaError
from ..record import near_misses
from ..record.database import DEFAULT_URL, StateDatabase
from .status import Status, recorded_status

DEFAULT_SOCKET = "/run/libreha/monitor.sock"
CHAP_SECRET = "chap_secret"  # the request by which a new secret is handed over, with host and secret
STEP_DOWN = "step_down"  # the request to leave the lease to the asker, who takes it then as ever
STEPS_DOWN = 30.0  # s for which the monitor does not take the lease then, whoever else does; a look that is under way ends before
TIMEOUT = 5.0  # s in which the monitor must answer; it answers from memory
RECORDING_TIMEOUT = 60.0  # s; it writes up to some hundred looks
LONGEST = 1 << 26  # bytes of an answer
UNIT = "libreha-monitor.service"


class Unanswered(str, Enum):
    """Why the monitor did not answer."""

    ABSENT = "absent"  # nobody listens: it does not run
    DENIED = "denied"  # this user may not ask
    SILENT = "silent"  # it listens and did not answer in time, or not as it should


class NotAnswered(LibrehaError):
    """The monitor did not answer; ``why`` says how."""

    def __init__(self, why: Unanswered, message: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.why = why


@dataclass(frozen=True)
class Places:
    """Where the monitor and its record are."""

    socket: str = DEFAULT_SOCKET
    state_url: str = DEFAULT_URL


def ask(path: str, request: Mapping[str, Any], seconds: float = TIMEOUT) -> dict[str, Any]:
    """The monitor's answer. Raises NotAnswered, and LibrehaError when it refuses the request."""
    try:
        line = _exchange(path, json.dumps(dict(request)).encode() + b"\n", seconds)
    except (FileNotFoundError, ConnectionRefusedError):
        remedy = "systemctl status %s says why; systemctl start %s starts it" % (UNIT, UNIT)
        raise NotAnswered(Unanswered.ABSENT, "no resident monitor listens at %s" % path, remedy) from None
    except PermissionError:
        raise NotAnswered(
            Unanswered.DENIED, "the resident monitor's socket %s may not be used by this user" % path, "run it as root, or with sudo"
        ) from None
    except OSError as error:  # a timeout is one too
        remedy = "systemctl status %s, journalctl -u %s" % (UNIT, UNIT)
        said = str(error) or type(error).__name__
        raise NotAnswered(Unanswered.SILENT, "the resident monitor at %s did not answer: %s" % (path, said), remedy) from None
    try:
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise ValueError("no object")
    except ValueError:
        remedy = "are the monitor and this program of one release? systemctl restart %s" % UNIT
        raise NotAnswered(Unanswered.SILENT, "the resident monitor at %s answered no JSON object" % path, remedy) from None
    if answer.get("error"):
        raise LibrehaError("the resident monitor refuses %s: %s" % (request.get("request"), answer["error"]))
    return answer


def _exchange(path: str, sent: bytes, seconds: float) -> bytes:
    """One line to *path*, and the line that comes back within *seconds* in all. Raises OSError."""
    until = clock.now().seconds + seconds
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(seconds)
        channel.connect(path)
        channel.sendall(sent)
        received = bytearray()
        while not received.endswith(b"\n"):
            channel.settimeout(max(0.01, until - clock.now().seconds))
            part = channel.recv(1 << 16)
            if not part:
                raise ConnectionResetError("it closed the connection")
            received += part
            if len(received) > LONGEST:
                raise ConnectionAbortedError("its answer is longer than %d bytes" % LONGEST)
            if clock.now().seconds > until:
                raise TimeoutError("not within %g s" % seconds)
    return bytes(received)


def read_status(places: Places, seconds: float = TIMEOUT) -> Status:
    """How the cluster stands: as the monitor answers, or else as the record has it. A monitor that has not looked yet, because another
    run holds the lease, answers for itself and the record for the rest. Raises LibrehaError when neither can be read."""
    try:
        answered = _status(ask(places.socket, {"request": "status"}, seconds))
    except NotAnswered as error:
        try:
            return _recorded(places.state_url, str(error))
        except LibrehaError as unreadable:
            raise LibrehaError(
                "%s; and the record cannot be read: %s" % (error.said, unreadable.said),
                remedy="; ".join(filter(None, (error.remedy, unreadable.remedy))),
                details={"why": error.why.value},
            ) from None
    if answered.last_look is not None:
        return answered
    try:
        return replace(_recorded(places.state_url, ""), service=answered.service, in_progress=answered.in_progress)
    except LibrehaError:  # what the monitor says of itself is shown all the same
        return answered


def with_near_misses(status: Status, places: Places) -> Status:
    """*status* with the near misses of the record, for whoever shows it; a check need not open the database for them. Unchanged where that
    cannot be read."""
    with contextlib.suppress(LibrehaError), StateDatabase.open(places.state_url, create=False) as database:
        return replace(status, near_misses=tuple(near_misses.summary(near_misses.read(database))))
    return status


def read_recording(places: Places, seconds: float = RECORDING_TIMEOUT) -> bytes:
    """The monitor's newest looks, as a recording. Raises NotAnswered, and LibrehaError when it cannot give it."""
    answer = ask(places.socket, {"request": "recording"}, seconds)
    return base64.b64decode(str(answer.get("recording") or ""))


def _status(answer: Mapping[str, Any]) -> Status:
    try:
        found: Status = from_dict(Status, answer, "status")
    except ValueError as error:
        remedy = "are the monitor and this program of one release? systemctl restart %s" % UNIT
        raise NotAnswered(Unanswered.SILENT, "the resident monitor's status is not understood: %s" % error, remedy) from None
    return found


def _recorded(url: str, problem: str) -> Status:
    with StateDatabase.open(url, create=False) as database:
        snapshot = database.snapshot(journal_limit=0, closed_limit=0)
        memory = database.memory_of(snapshot["memory"])
    return _status(recorded_status(snapshot, memory, clock.now(), problem))
