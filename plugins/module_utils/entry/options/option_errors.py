# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything that is wrong in a module's options, so that all of it is named at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable, Optional, TypeVar

from ...errors import LibrehaError

Read = TypeVar("Read")


class InvalidOptions(LibrehaError):
    """One or more options are wrong: ``errors``, each naming its option, with its remedy."""

    def __init__(self, errors: Sequence[LibrehaError]) -> None:
        self.errors = tuple(errors)
        texts = ["%s. %s" % (error.message.rstrip("."), error.remedy) if error.remedy else error.message for error in self.errors]
        if len(self.errors) == 1:
            super().__init__(self.errors[0].message, remedy=self.errors[0].remedy, details={"errors": texts})
        else:
            super().__init__(
                "%d options are wrong: %s" % (len(texts), " -- ".join(texts)), remedy="correct all of them", details={"errors": texts}
            )

    def renamed(self, rename: Callable[[str], str]) -> InvalidOptions:
        """The same for another module or a role, which has other names for the options: *rename* changes a message."""
        return InvalidOptions([LibrehaError(rename(error.message), remedy=error.remedy) for error in self.errors])


class OptionErrors:
    """Collects what is wrong; reading goes on, so that the next mistake is found too."""

    def __init__(self) -> None:
        self._errors: list[LibrehaError] = []

    def add(self, option: str, what: str, remedy: str) -> None:
        self.note(LibrehaError("%s %s" % (option, what), remedy=remedy))

    def note(self, error: LibrehaError) -> None:
        for one in error.errors if isinstance(error, InvalidOptions) else (error,):
            if (one.message, one.remedy) not in [(known.message, known.remedy) for known in self._errors]:
                self._errors.append(one)

    def read(self, reader: Callable[[], Read]) -> Optional[Read]:
        """What *reader* returns; None when it raises a LibrehaError, which is noted."""
        try:
            return reader()
        except LibrehaError as error:
            self.note(error)
            return None

    def refuse(self) -> None:
        """Raises WrongOptions unless nothing is wrong."""
        if self._errors:
            raise self.refusal()

    def refusal(self) -> InvalidOptions:
        return InvalidOptions(self._errors)
