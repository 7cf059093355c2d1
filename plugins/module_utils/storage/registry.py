# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The storage drivers by name."""

from __future__ import annotations

import os

from ..errors import LibrehaError
from .fence_list import DEFAULT_FENCE_LIST
from .interface import StorageTarget
from .lio.saved import default_path
from .lio.target import LioTarget
from .tgt import DEFAULT_SAVED_CONFIG, TgtTarget
from .tgt_control import Control

DRIVERS = ("tgt", "lio")
KEPT_ACLS = "lio_acls.json"
"""Beside the fence list: what fenced initiators get back."""


def open_storage(
    driver: str = "tgt",
    *,
    control_port: int = 0,
    saved_config: str | None = None,
    fence_list: str = DEFAULT_FENCE_LIST,
    chap_user: str = "",
    timeout: float = 5.0,
) -> StorageTarget:
    """The target service of this machine; nothing is asked yet. Raises LibrehaError for an unknown *driver*."""
    if driver == "tgt":
        return TgtTarget(Control(control_port, timeout), saved_config or DEFAULT_SAVED_CONFIG, chap_user=chap_user)
    if driver == "lio":
        kept = os.path.join(os.path.dirname(fence_list), KEPT_ACLS)
        return LioTarget(saved_config or default_path(), kept, timeout=timeout)
    raise LibrehaError("there is no storage driver %r" % driver, remedy="use one of: %s" % ", ".join(DRIVERS))
