# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module iscsi_target: its options, read into a target that is described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..storage.fence_list import DEFAULT_FENCE_LIST
from ..storage.iscsi_target import TargetRequest, set_up
from ..storage.target.model import Model
from ..storage.target.names import iscsi_name
from .options.portals import portal_spec
from .options.storage import require_absolute
from .options.target_model import read_model


def argument_spec() -> dict[str, Any]:
    chap = {
        "user": {"type": "str"},
        "secret": {"type": "str", "required": True, "no_log": True},
        "mutual_user": {"type": "str"},
        "mutual_secret": {"type": "str", "no_log": True},
    }
    mapped = {
        "lun": {"type": "int", "required": True},
        "number": {"type": "int"},
        "write_protect": {"type": "bool", "default": False},
    }
    acl = {
        "initiator": {"type": "str", "required": True},
        "luns": {"type": "list", "elements": "dict", "options": mapped},
        "chap": {"type": "dict", "options": chap},
        "attributes": {"type": "dict", "default": {}},
    }
    tpg = {
        "tag": {"type": "int", "default": 1},
        "enabled": {"type": "bool", "default": True},
        "portals": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": portal_spec(),
        },
        "luns": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"number": {"type": "int", "required": True}, "backstore": {"type": "str", "required": True}},
        },
        "acls": {"type": "list", "elements": "dict", "default": [], "options": acl},
        "nopin_timeout": {"type": "int", "default": 3},
        "nopin_response_timeout": {"type": "int", "default": 3},
        "queue_depth": {"type": "int", "default": 64},
        "attributes": {"type": "dict", "default": {}},
        "parameters": {"type": "dict", "default": {}},
    }
    backstore = {
        "name": {"type": "str", "required": True},
        "type": {"type": "str", "required": True, "choices": ["block", "fileio"]},
        "path": {"type": "path", "required": True},
        "size": {"type": "str"},
        "serial": {"type": "str"},
        "write_back": {"type": "bool", "default": False},
        "unmap": {"type": "bool"},
        "existing_data": {"type": "str", "choices": ["refuse", "export"], "default": "refuse"},
        "attributes": {"type": "dict", "default": {}},
    }
    return {
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "name": {"type": "str", "required": True},
        "backstores": {"type": "list", "elements": "dict", "default": [], "options": backstore},
        "tpgs": {"type": "list", "elements": "dict", "default": [], "options": tpg},
        "remove_backstores": {"type": "list", "elements": "str", "default": []},
        "disrupt": {"type": "list", "elements": "str", "default": []},
        "saved_config": {"type": "path"},
        "fence_list": {"type": "path", "default": DEFAULT_FENCE_LIST},
    }


def run(params: Mapping[str, Any], check_mode: bool = False) -> dict[str, Any]:
    """The task's result. Raises LibrehaError, and says whether something was changed."""
    present = params["state"] == "present"
    wanted = read_model(params) if present else Model(iscsi_name(params["name"], "name"), exists=False)
    require_absolute(params, "saved_config", "fence_list")
    request = TargetRequest(
        wanted,
        saved_config=params["saved_config"] or "",
        fence_list=params["fence_list"],
        remove_backstores=frozenset(params["remove_backstores"]),
        disrupt=frozenset(iscsi_name(one, "disrupt") for one in params["disrupt"]),
        may_have_data=frozenset(one["name"] for one in params["backstores"] if one["existing_data"] == "export"),
    )
    return set_up(request, check_mode)
