# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options of modules that judge a look: the policy, and what was seen (doc fragment ``libreha.vmware.look``)."""

from __future__ import annotations

from typing import Any


def look_spec() -> dict[str, Any]:
    """Part of an argument_spec. A module that cannot do without an observation asks for it itself."""
    return {
        "policy": {"type": "dict", "required": True},
        "observation": {
            "type": "dict",
            "options": {
                "taken_at": {"type": "dict", "required": True},
                "hosts": {"type": "list", "elements": "dict", "default": []},
                "isolation": {"type": "list", "elements": "dict", "default": []},
                "vms": {"type": "list", "elements": "dict", "default": []},
                "vms_read": {"type": "list", "elements": "str", "default": []},
                "events": {"type": "list", "elements": "dict", "default": []},
                "event_gaps": {"type": "list", "elements": "dict", "default": []},
                "storage": {"type": "list", "elements": "dict", "default": []},
                "storage_health": {"type": "list", "elements": "dict", "default": []},
            },
        },
    }
