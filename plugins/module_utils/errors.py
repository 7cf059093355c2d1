# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one error type of this collection.

Everything below a module's ``main`` raises :class:`LibrehaError`, and ``main`` catches exactly that (entry/task.py). Anything else
that escapes is a defect and is shown with its traceback.
"""

from __future__ import annotations

from pathlib import PurePath
from traceback import extract_tb
from typing import Any


class LibrehaError(Exception):
    """What was tried, on which host, what came back, and what to do next.

    Args:
        message: What was tried and what came back.
        host: The host (hypervisor or storage server) that it was tried on, if any.
        remedy: What the operator can do about it. Always give one where one exists.
        details: JSON-able facts for the task's result; never a secret.
    """

    def __init__(self, message: str, *, host: str | None = None, remedy: str = "", details: dict | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.host = host
        self.remedy = remedy
        self.details = dict(details or {})

    def __reduce__(self) -> tuple[Any, ...]:
        """By which an act's process hands it to the monitor: whatever else than a message a kind of it is made of."""
        return _as_it_was, (type(self), self.args, self.__dict__)

    @property
    def said(self) -> str:
        """Without the remedy: for the text of another error, which gives its own."""
        return "%s: %s" % (self.host, self.message) if self.host else self.message

    def __str__(self) -> str:
        return "%s. Remedy: %s" % (self.said.rstrip("."), self.remedy) if self.remedy else self.said


def _as_it_was(kind: type[LibrehaError], args: tuple[Any, ...], state: dict[str, Any]) -> LibrehaError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class StaleToken(LibrehaError):
    """An act came with a fencing token lower than the highest one seen: another run has taken over."""


class LeaseLost(LibrehaError):
    """The lease ran out or belongs to another holder: this run must act no more."""


ENDS_THE_RUN = (StaleToken, LeaseLost)


def as_outcome(error: BaseException, tried: str, host: str | None = None) -> LibrehaError:
    """*error*, which came from one host, device or tool while *tried*, as the outcome of that one.

    The rule of every place where several are asked or changed, side by side or one after the other: whatever goes wrong with
    one of them, also what nobody foresaw, is its own outcome and costs the others nothing. What nobody foresaw is given
    with its class, its text and its place in the code, for whoever has to mend it.

    Raises *error* itself where it is not about the one: LeaseLost and StaleToken end the run, and an interrupt the process.
    """
    if isinstance(error, ENDS_THE_RUN) or not isinstance(error, Exception):
        raise error
    if isinstance(error, LibrehaError):
        return error
    return LibrehaError(
        "%s: %s" % (tried, unexpected(error)), host=host, remedy="look at %s; this answer of it was not foreseen" % (host or "it")
    )


def unexpected(error: BaseException) -> str:
    """ "unexpected KeyError: 'esx2' (failover.py:283)" """
    frames = extract_tb(error.__traceback__)
    place = " (%s:%s)" % (PurePath(frames[-1].filename).name, frames[-1].lineno) if frames else ""
    return "unexpected %s: %s%s" % (type(error).__name__, error, place)
