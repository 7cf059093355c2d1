# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The storage drivers by name."""

from __future__ import annotations

from ..errors import LibrehaError
from .fence_list import DEFAULT_FENCE_LIST
from .interface import StorageTarget
from .lio import saved as lio_saved
from .lio.driver import LioTarget
from .lio.fenced_acls import FencedAcls, beside
from .tgt.control import Control
from .tgt.driver import DEFAULT_SAVED_CONFIG, TgtTarget

DRIVERS = ("tgt", "lio")


def open_storage(
    driver: str = "tgt",
    *,
    control_port: int = 0,
    saved_config: str = "",
    fence_list: str = DEFAULT_FENCE_LIST,
    chap_user: str = "",
    timeout: float = 5.0,
) -> StorageTarget:
    """The target service of this machine; nothing is asked yet. Without *saved_config* it is the driver's usual one.
    Raises LibrehaError for an unknown *driver*."""
    if driver == "tgt":
        return TgtTarget(Control(control_port, timeout), saved_config or DEFAULT_SAVED_CONFIG, chap_user=chap_user)
    if driver == "lio":
        return LioTarget(saved_config or lio_saved.default_path(), FencedAcls(beside(fence_list)), chap_user=chap_user, timeout=timeout)
    raise LibrehaError("there is no storage driver %r" % driver, remedy="use one of: %s" % ", ".join(DRIVERS))
