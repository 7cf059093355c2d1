# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The variables of the role iscsi_target as options of iscsi_target and tgt_target, the modules, and what is wrong in them, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from . import tgt_target
from .iscsi_target import argument_spec
from .options.option_errors import InvalidOptions
from .options.target_model import read_model

Variables = Mapping[str, Any]

_GROUP_ATTRIBUTES = {"demo_mode_discovery": 0}
"""Without it LIO shows the target in discovery to initiators that it does not admit (seen on Linux 6.1)."""

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9:_.]")
_VARIABLES = (
    (re.compile(r"backstores"), "iscsi_target_luns"),
    (re.compile(r"tpgs\[\d+\]\.acls(\[\d+\])\.initiator"), r"iscsi_target_initiators\1.name"),
    (re.compile(r"tpgs\[\d+\]\.acls"), "iscsi_target_initiators"),
    (re.compile(r"tpgs\[\d+\]\.luns"), "iscsi_target_luns"),
    (re.compile(r"tpgs\[\d+\]\.(parameters|attributes)"), r"iscsi_target_group_\1"),
    (re.compile(r"tpgs\[\d+\]\."), "iscsi_target_"),
    (re.compile(r"name(?= )"), "iscsi_target_name"),
    # of tgt_target
    (re.compile(r"nop_interval"), "iscsi_target_nopin_timeout"),
    (re.compile(r"nop_count"), "iscsi_target_nopin_response_timeout"),
    (re.compile(r"(?=(luns|initiators|portals)\b)"), "iscsi_target_"),
)


def module_options(wanted: Variables, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """*wanted* has the role's variables without their prefix. LUNs named in *without* are left out, as they are not made yet."""
    luns = [lun for lun in wanted["luns"] if lun["name"] not in without]
    numbers = {lun["number"] for lun in luns}
    return {
        "name": wanted["name"],
        "backstores": [_backstore(lun) for lun in luns],
        "tpgs": [
            {
                "portals": [_given(portal, "address", "port", "floating") for portal in wanted["portals"]],
                "luns": [{"number": lun["number"], "backstore": lun["name"]} for lun in luns],
                "acls": [_acl(initiator, numbers, bool(without)) for initiator in wanted["initiators"]],
                "nopin_timeout": wanted["nopin_timeout"],
                "nopin_response_timeout": wanted["nopin_response_timeout"],
                "queue_depth": wanted["queue_depth"],
                "attributes": {**_GROUP_ATTRIBUTES, **wanted["group_attributes"]},
                "parameters": dict(wanted["group_parameters"]),
            }
        ],
    }


def tgt_options(wanted: Variables, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """As :func:`module_options`, for the module tgt_target. What tgt does not have is left out; :func:`tgt_lacks` names it."""
    interval = wanted["nopin_timeout"]
    return {
        "name": wanted["name"],
        "portals": [_given(portal, "address", "port", "floating") for portal in wanted["portals"]],
        "luns": [_tgt_lun(lun) for lun in wanted["luns"] if lun["name"] not in without],
        "initiators": [
            {"name": one["name"], **({"chap": _given(one["chap"], "user", "secret")} if one.get("chap") else {})}
            for one in wanted["initiators"]
        ],
        # tgtd ends a connection with the question after the last that may be unanswered
        "nop_interval": interval,
        "nop_count": max(1, wanted["nopin_response_timeout"] // max(1, interval)),
    }


def tgt_lacks(wanted: Variables) -> list[str]:
    """What is described and cannot be had with tgt."""
    found = []
    for at, lun in enumerate(wanted["luns"]):
        asked = [key for key in ("unmap", "write_back", "attributes") if lun.get(key)]
        if asked:
            found.append("iscsi_target_luns[%d] (%s) has %s" % (at, lun["name"], ", ".join(asked)))
    for at, one in enumerate(wanted["initiators"]):
        asked = [key for key in ("luns", "attributes") if one.get(key)]
        asked += [key for key in ("mutual_user", "mutual_secret") if (one.get("chap") or {}).get(key)]
        if asked:
            found.append("iscsi_target_initiators[%d] (%s) has %s" % (at, one["name"], ", ".join(asked)))
    found += ["iscsi_target_%s is not empty" % key for key in ("group_attributes", "group_parameters", "remove_luns") if wanted.get(key)]
    return ["%s. The role does not do that with iscsi_target_driver tgt: leave it out, or use lio" % one for one in found]


def device_of(lun: Variables) -> str:
    """The path of the disk or file that the LUN's data lies on."""
    return str(lun.get("disk") or lun.get("file") or "/dev/%s/%s" % (lun.get("volume_group"), lun["name"]))


def device_unit(path: str) -> str:
    """The name of a disk's unit, as systemd-escape(1) makes it (systemd.unit(5), "String escaping for inclusion in unit names")."""
    parts = [part for part in path.split("/") if part]
    return (
        "-".join(_NOT_PLAIN.sub(lambda one: "".join("\\x%02x" % byte for byte in one.group().encode()), part) for part in parts) + ".device"
    )


def problems(wanted: Variables) -> list[str]:
    """Everything that is wrong with the description itself, each with its remedy. It never holds a secret."""
    tgt = wanted["driver"] == "tgt"
    spec, options = (tgt_target.argument_spec(), tgt_options(wanted)) if tgt else (argument_spec(), module_options(wanted))
    validated = ArgumentSpecValidator(spec).validate(options)
    if validated.error_messages:
        return list(validated.error_messages)
    try:
        if tgt:
            tgt_target.read_wanted(validated.validated_parameters)
        else:
            read_model(validated.validated_parameters)
    except InvalidOptions as error:
        return [_in_words_of_the_role(one.message) + (". %s" % one.remedy if one.remedy else "") for one in error.errors]
    return []


def _in_words_of_the_role(message: str) -> str:
    for pattern, variable in _VARIABLES:
        changed, count = re.subn(r"\A" + pattern.pattern, variable, message)
        if count:
            return changed
    return message


def _backstore(lun: Variables) -> dict[str, Any]:
    given = _given(lun, "name", "serial", "unmap", "write_back", "existing_data", "attributes")
    return {
        **given,
        "type": "fileio" if lun.get("file") else "block",
        "path": device_of(lun),
        **({"size": str(lun.get("size") or "")} if lun.get("file") else {}),
    }


def _tgt_lun(lun: Variables) -> dict[str, Any]:
    return {"number": lun["number"], **_given(_backstore(lun), "name", "type", "path", "size", "serial", "existing_data")}


def _acl(initiator: Variables, numbers: set[int], limited: bool) -> dict[str, Any]:
    acl: dict[str, Any] = {"initiator": initiator["name"], **_given(initiator, "luns", "attributes")}
    if limited and "luns" in acl:
        acl["luns"] = [lun for lun in acl["luns"] if lun["lun"] in numbers]
    if initiator.get("chap"):
        acl["chap"] = _given(initiator["chap"], "user", "secret", "mutual_user", "mutual_secret")
    return acl


def _given(values: Variables, *keys: str) -> dict[str, Any]:
    return {key: values[key] for key in keys if values.get(key) is not None}
