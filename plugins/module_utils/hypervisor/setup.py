# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A login for setting a host up: its managers, and reading their properties.

Apart from the driver (``vsphere.py``), since it serves no failover: nothing here is called while a cluster acts.
"""

from __future__ import annotations

from typing import Any

from ..decide.answers import ApiAnswer
from .interface import Connection, HostUnavailable
from .properties import PropertyReader
from .session import Session


class HostSetup:
    """One standalone host; a context manager, entering logs in. Raises HostUnavailable."""

    def __init__(self, connection: Connection) -> None:
        self.name = connection.name
        self.session = Session(connection)
        self.host: Any = None
        self._managers: Any = None

    def __enter__(self) -> HostSetup:
        self.session.login()
        try:
            with self.session.reading("reading the host's managers"):
                hosts = self.reader.inventory({"HostSystem": ("configManager",)})["HostSystem"]
            if len(hosts) != 1 or "configManager" not in hosts[0][1]:
                raise HostUnavailable(
                    "%d hosts are seen, of which one can be set up; a standalone host has exactly one" % len(hosts),
                    answer=ApiAnswer.BROKEN,
                    host=self.name,
                    remedy="give the address of the host itself, not of a vCenter, and a user that may configure it (root)",
                )
        except BaseException:
            self.session.logout()
            raise
        self.host, self._managers = hosts[0][0], hosts[0][1]["configManager"]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.session.logout()

    @property
    def reader(self) -> PropertyReader:
        return PropertyReader(self.session.content)

    def manager(self, name: str) -> Any:
        """One of HostConfigManager's, such as "storageSystem". Raises HostUnavailable where the host has none."""
        found = getattr(self._managers, name, None)
        if found is None:
            raise HostUnavailable(
                "the host has no %s" % name,
                answer=ApiAnswer.BROKEN,
                host=self.name,
                remedy="check that this is an ESXi host, and that the user may configure it",
            )
        return found

    def read(self, thing: Any, path: str) -> Any:
        """One property of one object, in one round trip. Raises HostUnavailable."""
        with self.session.reading("reading %s" % path):
            found = self.reader.objects([(thing, (path,))])
            if path not in found.get(thing._moId, {}):
                raise HostUnavailable(
                    "the host does not tell %s" % path,
                    answer=ApiAnswer.LOGIN_REFUSED,
                    host=self.name,
                    remedy="give the user the privilege to read the host's configuration",
                )
            return found[thing._moId][path]
