# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``vm_migrate``: a run of ``ha_run`` that is asked for migrations, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..decide.outcome import Progress
from ..errors import LibrehaError
from . import ha_run
from .options.commands import command_options
from .options.site import site_spec

Result = dict[str, Any]


def argument_spec() -> dict[str, Any]:
    of_run, of_command = ha_run.argument_spec(), command_options()
    return {
        **site_spec(),
        "vms": {"type": "list", "elements": "str", "required": True},
        **{name: of_command[name] for name in ("to", "way", "by", "reason")},
        "wait": {"type": "float", "default": 1800},
        **{name: of_run[name] for name in ("max_looks", "progress", "socket")},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> Result:
    """The task's result; raises LibrehaError, with ``vms`` in it, when one of them did not arrive, and before anything is begun when
    anything speaks against one."""
    options = {name: params[name] for name in ("to", "way", "by", "reason")}
    commands = [{"kind": "migrate", "subject": vm, **options} for vm in dict.fromkeys(params["vms"])]
    if not commands:
        raise LibrehaError("vms is empty", remedy="name the VMs to move")
    asked = {**params, "commands": commands, "host": None, "holder": None, "chap_secrets": {}, "all_or_none": True}
    try:
        result = ha_run.run(asked, check_mode)
    except LibrehaError as error:
        error.details = {**_about_the_vms(error.details), "failing": error.details.get("failing", [])}
        raise
    about = _about_the_vms(result)
    if check_mode:
        about["changed"] = any(vm["progress"] == Progress.OPEN.value for vm in about["vms"])
    return about


def _about_the_vms(result: Mapping[str, Any]) -> Result:
    """What of a run's result is about its migrations."""
    vms = [_vm(row) for row in result.get("commands", ())]
    of_run = {name: result[name] for name in ("changed", "ordered", "carried_out_by") if name in result}
    return {"changed": False, "ordered": [], "carried_out_by": "", **of_run, "vms": vms}


def _vm(row: Mapping[str, Any]) -> Result:
    return {
        "name": row["subject"],
        "host": row["host"],
        "way": row["moved_by"],
        "progress": row["progress"],
        "stands": row["stands"],
    }
