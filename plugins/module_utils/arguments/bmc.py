# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option ``bmc``: how to reach one host's BMC; ``hosts[].bmc`` (arguments/hosts.py) is the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..errors import LibrehaError
from ..fence.interface import Bmc
from ..fence.registry import DRIVERS


def bmc_spec() -> dict[str, Any]:
    """Part of an argument_spec."""
    return {
        "bmc": {
            "type": "dict",
            "required": True,
            "options": {
                "driver": {"type": "str", "default": "redfish", "choices": list(DRIVERS)},
                "address": {"type": "str", "required": True},
                "username": {"type": "str", "required": True},
                "password": {"type": "str", "required": True, "no_log": True},
                "system": {"type": "str", "default": ""},
                "validate_certs": {"type": "bool", "default": True},
                "ca_path": {"type": "path"},
                "timeout": {"type": "float", "default": 5.0},
            },
        }
    }


def read_bmc(host: str, params: Mapping[str, Any]) -> Bmc:
    """The BMC of *host*. Raises LibrehaError that names the option."""
    given = params["bmc"]
    address = given["address"].strip()
    if not address:
        raise LibrehaError("bmc.address is empty", host=host, remedy="give the BMC's address, such as https://192.0.2.9")
    if given["timeout"] <= 0:
        raise LibrehaError("bmc.timeout is %s" % given["timeout"], host=host, remedy="give the seconds to wait for an answer, such as 5")
    if given["validate_certs"] and given["ca_path"] and not os.access(given["ca_path"], os.R_OK):
        raise LibrehaError("bmc.ca_path %s cannot be read" % given["ca_path"], host=host, remedy="give the path of a PEM file here")
    return Bmc(
        name=host,
        address=address if "://" in address else "https://" + address,
        username=given["username"],
        password=given["password"],
        driver=given["driver"],
        system=given["system"],
        validate_certs=given["validate_certs"],
        ca_path=given["ca_path"],
        timeout=given["timeout"],
    )
