# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The policy as a JSON Schema (draft 2020-12): every option with its unit, default and an example.

``docs/policy.schema.json`` is this very structure, for editors. ``decide/policy.py`` holds the same options as values;
tests keep the three together. ``x-unit`` is ours: the unit as an error message names it.
"""

from __future__ import annotations

from typing import Any

INITIATOR = r"^(iqn\.[0-9]{4}-[0-9]{2}\.[^\s]+|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]{16,32})$"


def _seconds(description: str, default: float, minimum: float = 0) -> dict[str, Any]:
    bound = {"exclusiveMinimum": 0} if minimum == 0 else {"minimum": minimum}
    return {"description": description, "type": "number", "x-unit": "seconds", "default": default, "examples": [default], **bound}


def _choice(description: str, *values: str, default: str) -> dict[str, Any]:
    return {"description": description, "type": "string", "enum": list(values), "default": default}


def _object(description: str, properties: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "type": "object", "properties": properties, "additionalProperties": False}


def _by_name(description: str, entry: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "type": "object", "additionalProperties": entry, "default": {}}


def _names(description: str, example: str) -> dict[str, Any]:
    return {
        "description": description,
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "uniqueItems": True,
        "default": [],
        "examples": [[example]],
    }


HOST = _object(
    "One ESXi host.",
    {
        "initiator": {
            "description": "The host's own iSCSI initiator name, as the host itself tells it. Without one the host is unfenceable.",
            "type": "string",
            "pattern": INITIATOR,
            "x-unit": "an iSCSI name",
            "examples": ["iqn.1998-01.com.vmware:esx1"],
        },
        "has_bmc": {
            "description": "Whether the host's power can be read and switched off through a BMC.",
            "type": "boolean",
            "default": False,
        },
    },
)

TARGET = _object(
    "One storage server; all targets that it exports are fenced together.",
    {"driver": {"description": "The target service that runs on it.", "type": "string", "enum": ["tgt"], "default": "tgt"}},
)

VM = _object(
    "One VM.",
    {
        "protection": _choice("Whether the VM is failed over.", "protected", "unprotected", default="protected"),
        "priority": _choice(
            "Restart priority; VMs with disabled are left down.",
            "highest",
            "high",
            "medium",
            "low",
            "lowest",
            "disabled",
            default="medium",
        ),
    },
)

FAILOVER = _object(
    "Bounds of the failover of one VM.",
    {
        "lock_retry": _seconds("How long file-lock faults are retried; longer than VMFS' lock lease of about 16 s.", 60.0, minimum=20),
        "lock_retry_interval": _seconds("Time between two such tries.", 3.0),
        "power_on_timeout": _seconds("How long one power-on task may take.", 60.0),
        "start_bound": _seconds("After this time a VM that is not up is reported as failed.", 240.0),
        "parallel_per_host": {
            "description": "VMs that are started at the same time on one host.",
            "type": "integer",
            "minimum": 1,
            "x-unit": "a whole number",
            "default": 4,
            "examples": [4],
        },
    },
)

POLICY_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://libreha.example/policy.schema.json",
    "title": "libreha_policy",
    **_object(
        "What the operator wants from libreha.vmware.",
        {
            "mode": _choice(
                "Whether decisions are only reported, wait for a person's yes, or are carried out.",
                "observe",
                "ask",
                "act",
                default="observe",
            ),
            "confirm_after": _seconds(
                "How long a verdict must last before it is acted upon; it also needs three fresh samples no further apart than this.", 15.0
            ),
            "io_stale": _seconds("Without progress for this long, a host's session at the target counts as failed.", 10.0),
            "storage_grace": _seconds("For this long after the target's start, missing sessions say nothing about hosts.", 180.0),
            "max_dead_fraction": {
                "description": "The brake: when more than this part of the hosts is lost within brake_window, all fences are held.",
                "type": "number",
                "exclusiveMinimum": 0,
                "maximum": 1,
                "x-unit": "a fraction between 0 and 1",
                "default": 0.5,
                "examples": [0.5],
            },
            "brake_window": _seconds("The window in which lost hosts are counted for the brake.", 120.0),
            "isolation_response": _choice(
                "What to do with a host that cannot be reached while its storage works, so that its VMs still run.",
                "leave_running",
                "failover",
                default="leave_running",
            ),
            "isolation_mode": _choice(
                "With isolation_response failover: take the host away only if one of its running VMs can be placed elsewhere, or always.",
                "conservative",
                "aggressive",
                default="conservative",
            ),
            "isolation_addresses": _names(
                "Addresses that answer the observer unless it is cut off itself, such as the gateway.", "192.0.2.1"
            ),
            "agent_hung_response": _choice(
                "What to do with a host whose management agent hangs while its storage works.", "alarm", "failover", default="alarm"
            ),
            "allow_unstopped_source": _names(
                "Hosts without a BMC whose VMs may be moved although they may still execute there, without a disk.", "esx1"
            ),
            "recovery_bound": _seconds("A VM must run again within this time after faults stop.", 300.0),
            "reboot_grace": _seconds("A host that reboots in order is given this long to come back.", 120.0),
            "lease": _seconds(
                "A run may act for this long before it must renew its lease; longer than a look at hosts that do not answer.",
                60.0,
                minimum=5,
            ),
            "default_protection": _choice("Protection of VMs that vms does not name.", "protected", "unprotected", default="protected"),
            "hosts": _by_name("The hosts by their inventory names.", HOST),
            "storage": _by_name("The storage servers by their inventory names.", TARGET),
            "vms": _by_name("VMs by name, or by id (datastore UUID and vmx path).", VM),
            "failover": {**FAILOVER, "default": {}},
        },
    ),
}
