# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``vmfs_datastore``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..configure.vmfs_datastore import Wanted, set_up
from ..decide.observations import Lun
from ..errors import LibrehaError
from ..storage.lun_content import LunContent
from .options.hosts import hosts_spec, read_hosts


def argument_spec() -> dict[str, Any]:
    content = {
        "target": {"type": "str", "required": True},
        "lun": {"type": "int", "required": True},
        "path": {"type": "str", "default": ""},
        "size": {"type": "int", "required": True},
        "blank": {"type": "bool", "required": True},
        "content": {"type": "str", "default": ""},
    }
    return {
        **hosts_spec(),
        "datastore": {"type": "str", "required": True},
        "target": {"type": "str", "required": True},
        "lun": {"type": "int", "required": True},
        "lun_contents": {"type": "list", "elements": "dict", "options": content, "default": []},
        "create": {"type": "bool", "default": True},
        "resignature": {"type": "str"},
        "rescan_timeout": {"type": "float", "default": 120.0},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result. Raises LibrehaError: nothing was changed where it says so, otherwise details have the steps."""
    wanted = _read_wanted(params)
    accesses = read_hosts(params)
    if not accesses:
        raise LibrehaError("hosts is empty", remedy="list all hosts that are to mount the datastore")
    contents = [LunContent(**one) for one in params["lun_contents"]]
    return set_up(accesses, wanted, contents, params["rescan_timeout"], check_mode)


def _read_wanted(params: Mapping[str, Any]) -> Wanted:
    name = params["datastore"]
    if not name or len(name) > 42 or name != name.strip() or "/" in name:
        raise LibrehaError("datastore is %r" % name, remedy="give a name of 1 to 42 characters, without a slash or spaces at its ends")
    return Wanted(name, Lun(params["target"].lower(), params["lun"]), params["create"], params["resignature"] or "")
