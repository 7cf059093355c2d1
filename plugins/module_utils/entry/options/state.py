# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option that names the state database, for every module that uses it (doc fragment ``libreha.vmware.state``)."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import env_fallback

from ...record.database import DEFAULT_URL
from ...record.opening import secrets_of


def state_spec() -> dict[str, Any]:
    """Part of an argument_spec."""
    return {
        "state_url": {
            "type": "str",
            "default": DEFAULT_URL,
            "aliases": ["url"],
            "no_log": True,  # it may hold a password
            "fallback": (env_fallback, ["LIBREHA_STATE_URL"]),
        }
    }


def hide_secrets(module: Any) -> None:
    """Have Ansible censor the password in ``state_url`` wherever a driver might repeat it. Call it right after AnsibleModule()."""
    module.no_log_values.update(secrets_of(module.params["state_url"]))
