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


def _days(description: str, default: float) -> dict[str, Any]:
    return {"description": description, "type": "number", "minimum": 1, "x-unit": "days", "default": default, "examples": [default]}


def _fraction(description: str, default: float) -> dict[str, Any]:
    return {
        "description": description,
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "x-unit": "a fraction between 0 and 1",
        "default": default,
        "examples": [default],
    }


def _count(description: str, default: int, minimum: int = 0) -> dict[str, Any]:
    return {
        "description": description,
        "type": "integer",
        "minimum": minimum,
        "x-unit": "a whole number",
        "default": default,
        "examples": [default or 1],
    }


def _without_default(option: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in option.items() if key != "default"}


def _percent(description: str, default: float) -> dict[str, Any]:
    return {
        "description": description,
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 100,
        "x-unit": "percent",
        "default": default,
        "examples": [default],
    }


def _flag(description: str, default: bool) -> dict[str, Any]:
    return {"description": description, "type": "boolean", "default": default}


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
        "ignored_sensors": _names(
            "Hardware sensors, named as the host names them, whose red does not count: a sensor that is red for no reason degrades the "
            "host for ever.",
            "System Chassis 1 UID",
        ),
    },
)

TARGET = _object("One storage server; all targets that it exports are fenced together.", {})

START_ORDER = _object(
    "When the next restart priority, or a VM that starts after this one, may start.",
    {
        "condition": _choice(
            "What the VMs that are waited for must have reached.",
            "resources_allocated",
            "powered_on",
            "guest_heartbeat",
            default="resources_allocated",
        ),
        "delay": {**_seconds("Time after the condition is met.", 0.0), "minimum": 0},
        "timeout": _seconds("After this time the others start all the same.", 600.0),
    },
)
START_ORDER["properties"]["delay"].pop("exclusiveMinimum")

VM_NAMES = {
    "description": "VMs by name, or by id (datastore UUID and vmx path).",
    "type": "array",
    "items": {"type": "string", "minLength": 1},
    "uniqueItems": True,
    "minItems": 1,
    "examples": [["web1", "web2"]],
}

RULE = {
    "description": "Where VMs may run: on which hosts (host_affinity), or together or apart (vm_affinity).",
    "type": "object",
    "properties": {
        "type": {"description": "The kind of the rule.", "type": "string", "enum": ["host_affinity", "vm_affinity"]},
        "name": {"description": "For people: the rule's name in reports.", "type": "string"},
        "vms": VM_NAMES,
        "hosts": {
            "description": "With host_affinity: hosts and their preference, higher is preferred.",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "integer", "minimum": 0, "x-unit": "a whole number"},
            "examples": [{"esx1": 2, "esx2": 1}],
        },
        "together": {"description": "With vm_affinity: on one host, or each on another one.", "type": "boolean"},
        "required": {"description": "Never broken by a start or a move; otherwise a preference.", "type": "boolean", "default": True},
    },
    "required": ["type", "vms"],
    "allOf": [
        {
            "if": {"properties": {"type": {"const": "host_affinity"}}, "required": ["type"]},
            "then": {"required": ["hosts"], "properties": {"together": False}},
        },
        {
            "if": {"properties": {"type": {"const": "vm_affinity"}}, "required": ["type"]},
            "then": {"required": ["together"], "properties": {"hosts": False}},
        },
    ],
    "additionalProperties": False,
}

ADMISSION_CONTROL = _object(
    "What the cluster must be able to lose. Failovers are never refused by it.",
    {
        "form": _choice(
            "How it is counted, as in vSphere HA.",
            "disabled",
            "host_failures",
            "resource_percentage",
            "failover_hosts",
            default="host_failures",
        ),
        "host_failures": _count("With form host_failures: how many hosts, the largest first.", 1, minimum=1),
        "slot_memory": {**_count("With form host_failures: memory of a slot in MiB; 0 is the largest protected VM.", 0), "x-unit": "MiB"},
        "slot_cpu": {**_count("With form host_failures: CPU of a slot in MHz; 0 is the largest reservation.", 0), "x-unit": "MHz"},
        "memory_percent": _percent("With form resource_percentage: part of the cluster's memory that stays free.", 25.0),
        "cpu_percent": _percent("With form resource_percentage: part of the cluster's CPU that stays free.", 25.0),
        "failover_hosts": _names("With form failover_hosts: hosts that are kept empty for failovers.", "esx3"),
        "enforce": _flag("Refuse an operator's start that it does not admit; otherwise it is only an alarm.", False),
    },
)

VM_MONITORING = _object(
    "Guests that hang.",
    {
        "response": _choice("What to do when a guest's heartbeat is lost and it does no I/O.", "alarm", "reset", default="alarm"),
        "failure_interval": _seconds("Time without heartbeat.", 30.0),
        "io_interval": {
            **_seconds("Time without disk and network I/O, by the host's statistics, of which it makes one every 20 s.", 120.0, minimum=20),
            "maximum": 300,
        },
        "min_uptime": _seconds("Time after its start in which a VM is left alone.", 120.0),
        "max_resets": _count("Resets of one VM within reset_window.", 3, minimum=1),
        "reset_window": _seconds("The window in which resets are counted.", 3600.0),
    },
)

REBALANCE = _object(
    "Moves that bring the hosts' load closer together.",
    {
        "after_failover": _flag("Rebalance when a failover is complete; otherwise only when asked.", False),
        "band": _fraction("How far the most loaded host may be above the least loaded one.", 0.2),
        "max_moves": _count("Moves in one plan.", 8, minimum=1),
    },
)

STORAGE_HEALTH = _object(
    "From when on the state of a storage server itself is worth an alarm. Nothing is done on any host because of it.",
    {
        "interval": _seconds("How often space and RAID are read, at most.", 60.0),
        "disk_interval": _seconds("How often the disks' SMART state is read, at most.", 1800.0),
        "space_warning": _percent("Thin pools, file systems and snapshots that are this full: an early alarm.", 80.0),
        "space_critical": _percent("Thin pools and file systems that are this full: a critical alarm.", 90.0),
        "metadata_warning": _percent("Thin pools whose metadata is this full: an early alarm.", 70.0),
        "metadata_critical": _percent("Thin pools whose metadata is this full: a critical alarm.", 85.0),
        "hysteresis": _percent("How far below its threshold it must be again before an alarm ends.", 3.0),
        "full_within": _seconds(
            "However much room there is: an early alarm when it would be full within this time at the present rate.", 14400.0
        ),
        "growth_window": _seconds("The time over which that rate is measured; 10 minutes of watching give the first.", 3600.0, minimum=600),
        "wear_warning": _percent("Disks of whose rated writes this much is used up: an early alarm.", 80.0),
        "wear_critical": _percent("Disks of whose rated writes this much is used up: a critical alarm.", 95.0),
    },
)

RETENTION = _object(
    "How much of the record the monitor keeps. What is older or more is removed while no host is suspect and nothing is under way; what "
    "is still needed stays whatever its age, as do the newest 1000 of each.",
    {
        "journal_days": _days("Journal entries older than this go.", 90.0),
        "journal_entries": _count("Of more journal entries than this the oldest go.", 100000, minimum=1000),
        "transaction_days": _days("Closed failover transactions older than this go.", 365.0),
        "transactions": _count("Of more failover transactions than this the oldest closed ones go.", 10000, minimum=1000),
    },
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
        "start_after": _names("VMs that must be up before this one starts.", "db1"),
        "start_order": START_ORDER,
        "max_restart": _without_default(_count("As the cluster's max_restart, for this VM.", 1)),
        "max_relocate": _without_default(_count("As the cluster's max_relocate, for this VM.", 1)),
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
            "fail_on_alarm": _choice(
                "From which severity on a standing alarm fails a run of monitor or failover. The exit status of ansible-playbook and the "
                "colour of a job in AWX follow it.",
                "none",
                "info",
                "warning",
                "critical",
                default="critical",
            ),
            "confirm_after": _seconds(
                "How long every path to a host must have been silent before it is fenced, by at least three probes of each.", 15.0
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
            "degraded_response": _choice(
                "What to do with a host whose hardware sensors are red while it works.", "alarm", "quarantine", "evacuate", default="alarm"
            ),
            "automatic_moves": _choice(
                "Which moves of running VMs are made unasked, to keep rules, to return after maintenance, to balance.",
                "none",
                "live",
                "all",
                default="live",
            ),
            "max_restart": _count("Starts of a VM on one host that may fail before another host is tried.", 1),
            "max_relocate": _count("Other hosts tried in one round; rounds are repeated for ever, with growing pauses.", 1),
            "retry_interval": _seconds("Pause before the second round, doubled up to four times.", 60.0),
            "stable_after": _seconds("Time of running after which earlier failed starts and crashes of a VM are forgotten.", 600.0),
            "rules": {"description": "Where VMs may run.", "type": "array", "items": RULE, "default": []},
            "start_order": {**START_ORDER, "default": {}},
            "admission_control": {**ADMISSION_CONTROL, "default": {}},
            "vm_monitoring": {**VM_MONITORING, "default": {}},
            "rebalance": {**REBALANCE, "default": {}},
            "storage_health": {**STORAGE_HEALTH, "default": {}},
            "retention": {**RETENTION, "default": {}},
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
