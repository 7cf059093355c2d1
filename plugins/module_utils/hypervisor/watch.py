# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Being told that something has changed, in place of asking: a property collector's long poll.

A watch is no reading: it says that a list of VMs is worth reading now, and nothing about what is in it. That nobody says so proves
nothing.
"""

from __future__ import annotations

from .properties import PropertyReader
from .pyvmomi import vmodl
from .session import Session

WATCHED = {
    "VirtualMachine": ("runtime.powerState", "runtime.question", "runtime.connectionState", "guestHeartbeatStatus"),
    "Datastore": ("summary.accessible",),
}


class Watch:
    """Of the VMs and datastores of one host, for as long as its session lasts. One thread at a time may wait for it."""

    def __init__(self, session: Session) -> None:
        """One collector of its own, so that nothing else waits for it. Raises HostUnavailable."""
        self._session = session
        self._version = ""
        with session.reading("setting a watch on the VMs"):
            reader = PropertyReader(session.content)
            self._collector = reader.collector.CreatePropertyCollector()
            self._collector.CreateFilter(reader.inventory_spec(WATCHED), False)

    def changed(self, seconds: float) -> bool:
        """Wait until a VM appears or goes, or its power state, question, connection or heartbeat changes, or a datastore's access, for at
        most *seconds*; the first time True at once. Raises HostUnavailable."""
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=max(1, round(seconds)))
        with self._session.reading("waiting for changes of the VMs"), self._session.patiently(seconds + self._session.connection.timeout):
            changed = truncated = False
            while not changed or truncated:
                update = self._collector.WaitForUpdatesEx(self._version, options)
                if update is None:
                    break
                changed, truncated, self._version = True, bool(update.truncated), update.version
        return changed
