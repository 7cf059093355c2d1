# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The storage drivers by name."""

from __future__ import annotations

from ..errors import LibrehaError
from .interface import StorageTarget
from .tgt import DEFAULT_SAVED_CONFIG, TgtTarget
from .tgt_control import Control

DRIVERS = ("tgt",)


def open_storage(
    driver: str = "tgt",
    *,
    control_port: int = 0,
    saved_config: str = DEFAULT_SAVED_CONFIG,
    chap_user: str = "",
    timeout: float = 5.0,
) -> StorageTarget:
    """The target service of this machine; nothing is asked yet. Raises LibrehaError for an unknown *driver*."""
    if driver == "tgt":
        return TgtTarget(Control(control_port, timeout), saved_config, chap_user=chap_user)
    raise LibrehaError("there is no storage driver %r" % driver, remedy="use one of: %s" % ", ".join(DRIVERS))
