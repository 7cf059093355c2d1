# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module tgt_target: its options, read into a target that is described."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..storage.fence_list import DEFAULT_FENCE_LIST
from ..storage.target.model import Model
from ..storage.target.names import iscsi_name
from ..storage.tgt.driver import DEFAULT_SAVED_CONFIG
from ..storage.tgt_target import DEFAULT_FILE, TgtRequest, set_up
from .options.option_errors import InvalidOptions, OptionErrors
from .options.portals import portal_spec
from .options.storage import require_absolute, require_control
from .options.target_model import read_model

_HIGHEST_LUN = 255
_LONGEST_SERIAL = 36  # SCSI_SN_LEN of tgt
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./:+@-]+")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_.:+/@-]+")
"""What a shell, targets.conf(5) and tgtd's own requests all leave as it is: tgt-admin hands these to a shell at each start."""

_OPTIONS = (
    (re.compile(r"\Abackstores"), "luns"),
    (re.compile(r"\Atpgs\[0\]\.acls(\[\d+\])\.initiator"), r"initiators\1.name"),
    (re.compile(r"\Atpgs\[0\]\.acls"), "initiators"),
    (re.compile(r"\Atpgs\[0\]\."), ""),
)


def argument_spec() -> dict[str, Any]:
    lun = {
        "number": {"type": "int", "required": True},
        "name": {"type": "str", "required": True},
        "type": {"type": "str", "required": True, "choices": ["block", "fileio"]},
        "path": {"type": "path", "required": True},
        "size": {"type": "str"},
        "serial": {"type": "str"},
        "existing_data": {"type": "str", "choices": ["refuse", "export"], "default": "refuse"},
    }
    chap = {"user": {"type": "str"}, "secret": {"type": "str", "required": True, "no_log": True}}
    initiator = {"name": {"type": "str", "required": True}, "chap": {"type": "dict", "options": chap}}
    return {
        "name": {"type": "str", "required": True},
        "portals": {"type": "list", "elements": "dict", "default": [], "options": portal_spec()},
        "luns": {"type": "list", "elements": "dict", "default": [], "options": lun},
        "initiators": {"type": "list", "elements": "dict", "default": [], "options": initiator},
        "nop_interval": {"type": "int", "default": 3},
        "nop_count": {"type": "int", "default": 1},
        "disrupt": {"type": "list", "elements": "str", "default": []},
        "file": {"type": "path", "default": DEFAULT_FILE},
        "saved_config": {"type": "path", "default": DEFAULT_SAVED_CONFIG},
        "fence_list": {"type": "path", "default": DEFAULT_FENCE_LIST},
        "control_port": {"type": "int", "default": 0},
        "timeout": {"type": "float", "default": 5.0},
    }


def read_wanted(params: Mapping[str, Any]) -> Model:
    """What is described, checked without a look at the machine. Raises WrongOptions naming everything that is wrong."""
    wrong = OptionErrors()
    for at, lun in enumerate(params["luns"]):
        option = "luns[%d]" % at
        if not 1 <= lun["number"] <= _HIGHEST_LUN:
            wrong.add("%s.number" % option, "is %d" % lun["number"], "give 1 to %d: LUN 0 is tgt's own" % _HIGHEST_LUN)
        if len(lun["serial"] or "") > _LONGEST_SERIAL:
            wrong.add("%s.serial" % option, "is longer than %d characters" % _LONGEST_SERIAL, "give a UUID")
        if not _PLAIN_PATH.fullmatch(lun["path"]):
            wrong.add("%s.path" % option, "is %r" % lun["path"], "use a name of letters, digits and _./:+@- only")
    for key, lowest, highest in (("nop_interval", 3, 60), ("nop_count", 1, 20)):
        if not lowest <= params[key] <= highest:
            wrong.add(key, "is %d" % params[key], "give %d to %d" % (lowest, highest))
    if not params["portals"]:
        wrong.add("portals", "is empty", "name the addresses at which hosts log in")
    try:
        model = read_model(_as_model_options(params))
    except InvalidOptions as error:
        wrong.note(error.renamed(_in_words_of_tgt))
        raise wrong.refusal() from error
    _own_accounts(wrong, model)
    wrong.refuse()
    return model


def _in_words_of_tgt(message: str) -> str:
    for pattern, option in _OPTIONS:
        message = pattern.sub(option, message)
    return message


def _own_accounts(wrong: OptionErrors, model: Model) -> None:
    users: dict[str, str] = {}
    for acl in model.tpgs[1].acls.values():
        chap, option = acl.chap, "initiators (%s)" % acl.initiator
        if chap.user and not (_PLAIN_WORD.fullmatch(chap.user) and _PLAIN_WORD.fullmatch(chap.secret)):
            wrong.add(option, "has a CHAP user or secret that a shell would not leave as it is", "use letters, digits and _.:+/@- only")
        if chap.user in users:
            wrong.add(
                option,
                "has the CHAP user of %s" % users[chap.user],
                "give each its own: a fence renews the secret of one host, and tgt binds an account to no initiator",
            )
        if chap.user:
            users[chap.user] = acl.initiator


def _as_model_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """As options of the module iscsi_target, whose checks are the same."""
    luns, initiators = params["luns"], params["initiators"]
    plain: dict[str, Any] = {"write_back": False, "unmap": None, "attributes": {}}
    keys = ("name", "type", "path", "size", "serial")
    mutual = {"mutual_user": None, "mutual_secret": None}
    tpg = {
        "tag": 1,
        "enabled": True,
        "portals": params["portals"],
        "luns": [{"number": lun["number"], "backstore": lun["name"]} for lun in luns],
        "acls": [
            {
                "initiator": one["name"],
                "luns": None,
                "chap": one["chap"] and {**one["chap"], "user": one["chap"]["user"] or one["name"].strip(), **mutual},
                "attributes": {},
            }
            for one in initiators
        ],
        "nopin_timeout": 3,
        "nopin_response_timeout": 3,
        "queue_depth": 64,
        "attributes": {},
        "parameters": {},
    }
    return {"name": params["name"], "backstores": [{**{key: lun[key] for key in keys}, **plain} for lun in luns], "tpgs": [tpg]}


def run(params: Mapping[str, Any], check_mode: bool = False) -> dict[str, Any]:
    """The task's result. Raises LibrehaError, and says whether something was changed."""
    wanted = read_wanted(params)
    require_control(params)
    require_absolute(params, "file", "saved_config", "fence_list")
    request = TgtRequest(
        wanted,
        spellings={iscsi_name(one["name"], "initiators"): one["name"].strip() for one in params["initiators"]},
        nops=(params["nop_interval"], params["nop_count"]),
        disrupt=frozenset(iscsi_name(one, "disrupt") for one in params["disrupt"]),
        may_have_data=frozenset(lun["name"] for lun in params["luns"] if lun["existing_data"] == "export"),
        **{name: params[name] for name in ("file", "saved_config", "fence_list", "control_port", "timeout")},
    )
    return set_up(request, check_mode)
