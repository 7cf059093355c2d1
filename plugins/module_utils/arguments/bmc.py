# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option ``bmc``: the devices that switch one host's power, in their levels; ``hosts[].bmc`` (arguments/hosts.py) is the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..errors import LibrehaError
from ..fence.agent_metadata import SECRET
from ..fence.interface import PowerDevice
from ..fence.registry import DRIVERS

REDFISH_ONLY, AGENT_ONLY = ("system", "ca_path"), ("agent", "options", "secret_options")


def bmc_spec() -> dict[str, Any]:
    """Part of an argument_spec."""
    return {
        "bmc": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "level": {"type": "int"},
                "kind": {"type": "str", "default": "bmc", "choices": ["bmc", "outlet"]},
                "driver": {"type": "str", "default": "redfish", "choices": list(DRIVERS)},
                "address": {"type": "str"},
                "username": {"type": "str"},
                "password": {"type": "str", "no_log": True},
                "system": {"type": "str", "default": ""},
                "validate_certs": {"type": "bool", "default": True},
                "ca_path": {"type": "path"},
                "agent": {"type": "str"},
                "options": {"type": "dict", "default": {}},
                "secret_options": {"type": "dict", "default": {}, "no_log": True},
                "timeout": {"type": "float", "default": 5.0},
            },
            "required_if": [
                ("driver", "redfish", ("address", "username", "password")),
                ("driver", "fence_agent", ("agent",)),
            ],
        }
    }


def read_bmc(host: str, params: Mapping[str, Any], *, files_here: bool = True) -> tuple[PowerDevice, ...]:
    """The power devices of *host*, in their levels. Raises LibrehaError that names the option.

    *files_here*: whether this is the machine on which the files lie that the options name.
    """
    listed: Sequence[Mapping[str, Any]] = params["bmc"]
    if not listed:
        raise LibrehaError("bmc is empty", host=host, remedy="give a device, or leave bmc out for a host without one")
    if len(listed) > 1 and any(given["level"] is None for given in listed):
        raise LibrehaError(
            "bmc lists %d devices, and not each says its level" % len(listed),
            host=host,
            remedy="give each a level: devices of one level must all succeed, and the next level is tried when they do not",
        )
    devices = [_read_device(host, "bmc[%d]" % index if len(listed) > 1 else "bmc", given, files_here) for index, given in enumerate(listed)]
    return tuple(sorted(devices, key=lambda device: device.level))


def _read_device(host: str, place: str, given: Mapping[str, Any], files_here: bool) -> PowerDevice:
    address = (given["address"] or "").strip()
    level = 1 if given["level"] is None else given["level"]

    def refuse(text: str, remedy: str) -> None:
        raise LibrehaError("%s.%s" % (place, text), host=host, remedy=remedy)

    if not 1 <= level <= 9:
        refuse("level is %d" % level, "give a level from 1 to 9; the lowest is tried first")
    if not given["timeout"] > 0:
        refuse("timeout is %s" % given["timeout"], "give the seconds to wait for an answer, such as 5")
    by_redfish = given["driver"] == "redfish"
    for option in AGENT_ONLY if by_redfish else REDFISH_ONLY:
        if given[option]:
            refuse("%s means nothing to the driver %s" % (option, given["driver"]), "leave it out, or correct %s.driver" % place)
    if by_redfish:
        if not address:
            refuse("address is empty", "give the BMC's address, such as https://192.0.2.9")
        if files_here and given["validate_certs"] and given["ca_path"] and not os.access(given["ca_path"], os.R_OK):
            refuse("ca_path %s cannot be read" % given["ca_path"], "give the path of a PEM file here")
    for option in given["options"]:
        if SECRET.match(option):
            refuse("options.%s is a secret" % option, "give it in %s.password, or in %s.secret_options" % (place, place))
    return PowerDevice(
        name=host,
        address="https://" + address if by_redfish and "://" not in address else address,
        username=given["username"] or "",
        password=given["password"] or "",
        driver=given["driver"],
        level=level,
        outlet=given["kind"] == "outlet",
        timeout=given["timeout"],
        system=given["system"],
        validate_certs=given["validate_certs"],
        ca_path=given["ca_path"],
        agent=given["agent"] or "",
        options={name: _text(value) for name, value in given["options"].items()},
        secret_options={name: _text(value) for name, value in given["secret_options"].items()},
    )


def bmc_list(value: Any) -> list[Any]:
    """The variable ``libreha_bmc`` as the option takes it: a host with one device may write it without a list."""
    return [value] if isinstance(value, Mapping) else list(value or [])


def read_bmc_variable(host: str, value: Any) -> tuple[PowerDevice, ...]:
    """The variable ``libreha_bmc`` of *host*, checked as a module would. Raises LibrehaError that names the option."""
    if not value:
        return ()
    checked = ArgumentSpecValidator(bmc_spec()).validate({"bmc": bmc_list(value)})
    if checked.error_messages:
        raise LibrehaError("libreha_bmc: %s" % "; ".join(checked.error_messages), host=host, remedy="correct libreha_bmc of this host")
    return read_bmc(host, checked.validated_parameters, files_here=False)


def shared_devices(by_host: Mapping[str, Sequence[PowerDevice]]) -> str:
    """Which device two hosts have in common, in words; empty for none. Switching it would switch the wrong one of them."""
    seen: dict[tuple[str, ...], str] = {}
    for host, devices in by_host.items():
        for device in devices:
            other = seen.setdefault(_outlet_of(device), host)
            if other != host:
                return "hosts %s and %s have the same power device: %s" % (other, host, device.text)
    return ""


def _outlet_of(device: PowerDevice) -> tuple[str, ...]:
    """What is switched: address and port, and which of the systems or plugs there. A BMC is one, whatever protocol it is asked by."""
    url = urlsplit(device.address if "://" in device.address else "//" + device.address)
    port = str(url.port or "") if device.driver == "redfish" else device.options.get("ipport", "")
    port = "" if port in ("443", "623") else port
    which = device.system.rstrip("/").rsplit("/", 1)[-1]
    for option in ("plug", "port", "systems_uri", "target"):
        which = which or device.options.get(option, "").rstrip("/").rsplit("/", 1)[-1]
    if not url.hostname:  # an agent that knows its device by its own options
        which = repr((device.agent, sorted(device.options.items())))
    return ((url.hostname or "").lower(), port, which.lower())


def _text(value: Any) -> str:
    return ("1" if value else "0") if isinstance(value, bool) else str(value)
