# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The option ``bmc``: the devices that switch one host's power, in their levels; ``hosts[].bmc`` (entry/options/hosts.py) is the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ...addresses import bare_host, in_url, read_url
from ...errors import LibrehaError
from ...fence.agent_metadata import SECRET
from ...fence.interface import PowerDevice
from ...fence.registry import DRIVERS

REDFISH_ONLY, AGENT_ONLY = ("system", "ca_path"), ("agent", "options", "secret_options", "proves_power_off")

# The options of agents that name what is switched, where one device switches several.
PLUGS = ("plug", "port", "uuid", "systems_uri")
# Agents that put their option ip before a port, so that an IPv6 address must stand in brackets (fence-agents 4.12.1).
IP_BEFORE_PORT = (
    "fence_apc_snmp",
    "fence_docker",
    "fence_eaton_snmp",
    "fence_emerson",
    "fence_ibmblade",
    "fence_intelmodular",
    "fence_ipdu",
    "fence_lindypdu",
    "fence_pve",
    "fence_redfish",
    "fence_tripplite_snmp",
)
# Ports that say by which protocol a device is asked, not which device it is: ssh, telnet, HTTP, SNMP, HTTPS, IPMI.
USUAL_PORTS = ("22", "23", "80", "161", "443", "623")


def host_spec() -> dict[str, Any]:
    """Part of an argument_spec: the host whose devices they are, and its machine."""
    return {
        "host": {"type": "str", "required": True},
        "machine": {"type": "dict", "options": {"uuid": {"type": "str", "default": ""}, "serial": {"type": "str", "default": ""}}},
    }


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
                "proves_power_off": {"type": "bool", "default": False},
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
    level = 1 if given["level"] is None else given["level"]

    def refuse(text: str, remedy: str) -> NoReturn:
        raise LibrehaError("%s.%s" % (place, text), host=host, remedy=remedy)

    if not 1 <= level <= 9:
        refuse("level is %d" % level, "give a level from 1 to 9; the lowest is tried first")
    if not given["timeout"] > 0:
        refuse("timeout is %s" % given["timeout"], "give the seconds to wait for an answer, such as 5")
    by_redfish = given["driver"] == "redfish"
    for option in AGENT_ONLY if by_redfish else REDFISH_ONLY:
        if given.get(option):
            refuse("%s means nothing to the driver %s" % (option, given["driver"]), "leave it out, or correct %s.driver" % place)
    if by_redfish and not (given["address"] or "").strip():
        refuse("address is empty", "give the BMC's address, such as https://192.0.2.9")
    if by_redfish and files_here and given["validate_certs"] and given["ca_path"] and not os.access(given["ca_path"], os.R_OK):
        refuse("ca_path %s cannot be read" % given["ca_path"], "give the path of a PEM file here")
    for option, value in given["options"].items():
        if SECRET.match(option):
            refuse("options.%s is a secret" % option, "give it in %s.password, or in %s.secret_options" % (place, place))
        if not isinstance(value, (str, int, float)):
            refuse("options.%s is neither text nor a number" % option, "give one value; several plugs are written as '1,2'")
    try:
        address = (_redfish_address if by_redfish else _agent_address)(given)
    except ValueError as error:
        wanted = "the BMC's address, such as https://192.0.2.9" if by_redfish else "a name or an address"
        refuse("address: %s" % error, "give " + wanted)
    return PowerDevice(
        name=host,
        address=address,
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
        options=_agent_options(given["options"]),
        secret_options={name: _text(value) for name, value in given["secret_options"].items()},
        proves_power_off=bool(given.get("proves_power_off")),
    )


def _redfish_address(given: Mapping[str, Any]) -> str:
    """Raises ValueError."""
    return str(read_url(given["address"]))


def _agent_address(given: Mapping[str, Any]) -> str:
    """As the agent takes it. Some take a path or a URL, which is theirs to judge. Raises ValueError."""
    address = (given["address"] or "").strip()
    if not address or "/" in address:
        return address
    try:
        host = bare_host(address)
    except ValueError as error:
        raise ValueError("%s; the port has an option of its own (options.ipport)" % error if "port" in str(error) else error) from None
    return in_url(host) if os.path.basename(given["agent"] or "") in IP_BEFORE_PORT else host


def _agent_options(given: Mapping[str, Any]) -> dict[str, str]:
    """As texts. Agents split a list of plugs, but leave the blanks in."""
    options = {name: _text(value) for name, value in given.items()}
    for name in PLUGS:
        if name in options:
            options[name] = _separator(options).join(_plugs(options[name], _separator(options)))
    return options


def _separator(options: Mapping[str, str]) -> str:
    return options.get("plug_separator") or ","


def _plugs(text: str, separator: str) -> list[str]:
    return [plug.strip() for plug in text.split(separator) if plug.strip()]


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
    seen: list[tuple[str, Outlets]] = []
    for host, devices in by_host.items():
        for device in devices:
            mine = _outlets_of(device)
            for other, theirs in seen:
                if other != host and mine.overlap(theirs):
                    return "hosts %s and %s have the same power device: %s" % (other, host, device.text)
            seen.append((host, mine))
    return ""


@dataclass(frozen=True)
class Outlets:
    """What one device switches for one host. A BMC is one, whatever protocol it is asked by."""

    place: tuple[str, ...]  # address, port and what else leads to the device
    plugs: frozenset[str]  # which of its plugs or systems; empty: the only one

    def overlap(self, other: Outlets) -> bool:
        return self.place == other.place and (not self.plugs or not other.plugs or bool(self.plugs & other.plugs))


def _outlets_of(device: PowerDevice) -> Outlets:
    options = device.options
    listed = next((options[name] for name in PLUGS if options.get(name)), device.system)
    plugs = frozenset(_plug_of(plug, options.get("switch", "")) for plug in _plugs(listed, _separator(options)))
    if not device.address:  # an agent that knows its device by its own options
        own = sorted((name, value) for name, value in options.items() if name not in PLUGS)
        return Outlets((device.agent, repr(own)), plugs)
    if device.driver == "redfish":
        url = read_url(device.address)
        host, port = url.host, str(url.port or "")
    else:
        host = device.address if "/" in device.address else bare_host(device.address)
        port = options.get("ipport", "").strip()
    return Outlets((host.lower(), "" if port in USUAL_PORTS else port, options.get("target", "")), plugs)


def _plug_of(text: str, switch: str) -> str:
    """One name for a plug, however it is written: systems by path or id, plugs of stacked switches as "1:3" (fence_apc)."""
    before, colon, plug = text.rstrip("/").rsplit("/", 1)[-1].lower().rpartition(":")
    number = before if colon else switch.strip()
    return plug if number in ("", "1") else "%s:%s" % (number, plug)


def _text(value: Any) -> str:
    return ("1" if value else "0") if isinstance(value, bool) else str(value)
