# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which driver talks to a host. There is one so far; the choice is made in this place only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from .interface import Connection, Hypervisor

if TYPE_CHECKING:
    from .vsphere import Vsphere


def import_drivers() -> None:
    """Import now what :func:`open_hypervisor` would import when it is called first: pyVmomi takes a second on a slow machine."""
    _vsphere()


def open_hypervisor(connection: Connection, before_write: Callable[[], None] | None = None) -> Hypervisor:
    """A driver for *connection*; use it as a context manager: entering connects and logs in.

    *before_write* is called directly before each request that changes something and may raise to stop it.
    Raises LibrehaError when the driver's library is missing, HostUnavailable when the connection's CA file cannot be used.
    """
    driver = _vsphere()(connection)
    driver.before_write = before_write
    return driver


def _vsphere() -> type[Vsphere]:
    from .vsphere import Vsphere

    return Vsphere
