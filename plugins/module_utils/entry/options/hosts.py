# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options that name hosts and how to reach them, for every module that talks to hosts (doc fragment
``libreha.vmware.hosts``). What a host does not say for itself, the module's own options say for all, so that
``module_defaults`` give user, password and CA once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from ansible.module_utils.basic import env_fallback

from ...access import HostAccess
from ...addresses import bare_host
from ...errors import LibrehaError
from ...hypervisor.interface import Connection
from .bmc import bmc_spec, read_bmc, shared_devices

# A host's own options that fall back to the module's; the names are those of vmware.vmware.
SHARED = ("username", "password", "port", "validate_certs", "ca_path", "proxy_host", "proxy_port", "timeout")
LONGEST_TIMEOUT = 600  # seconds


def hosts_spec() -> dict[str, Any]:
    """Part of an argument_spec."""
    return {
        "hosts": {"type": "list", "elements": "dict", "options": _host_spec()},
        "hostname": {"type": "str", "fallback": (env_fallback, ["VMWARE_HOST"])},
        "username": {"type": "str", "aliases": ["user", "admin"], "fallback": (env_fallback, ["VMWARE_USER"])},
        "password": {"type": "str", "aliases": ["pass", "pwd"], "no_log": True, "fallback": (env_fallback, ["VMWARE_PASSWORD"])},
        "port": {"type": "int", "default": 443, "fallback": (env_fallback, ["VMWARE_PORT"])},
        "validate_certs": {"type": "bool", "default": True, "fallback": (env_fallback, ["VMWARE_VALIDATE_CERTS"])},
        "ca_path": {"type": "path"},
        "proxy_host": {"type": "str", "fallback": (env_fallback, ["VMWARE_PROXY_HOST"])},
        "proxy_port": {"type": "int", "fallback": (env_fallback, ["VMWARE_PROXY_PORT"])},
        "timeout": {"type": "float", "default": 5.0},
    }


def single_host_spec() -> dict[str, Any]:
    """Part of an argument_spec of a module that configures one host (doc fragment ``libreha.vmware.host``)."""
    spec = hosts_spec()
    del spec["hosts"]
    return {"name": {"type": "str"}, **spec}


def read_single_host(params: Mapping[str, Any]) -> HostAccess:
    """The host that *params* (made by single_host_spec) name. Raises LibrehaError that names the option and the remedy."""
    if not params.get("hostname"):
        raise LibrehaError("no host is named", remedy="give its name or address with hostname")
    return read_hosts({**params, "hosts": [{"name": params.get("name") or params["hostname"], "hostname": params["hostname"]}]})[0]


def _host_spec() -> dict[str, Any]:
    return {
        "name": {"type": "str", "required": True},
        "hostname": {"type": "str"},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "port": {"type": "int"},
        "validate_certs": {"type": "bool"},
        "ca_path": {"type": "path"},
        "proxy_host": {"type": "str"},
        "proxy_port": {"type": "int"},
        "timeout": {"type": "float"},
        "bmc": {**bmc_spec()["bmc"], "required": False},
    }


def read_hosts(params: Mapping[str, Any]) -> list[HostAccess]:
    """The hosts that *params* (made by hosts_spec) names; none for an empty list (say, of the hosts that answer).

    Raises LibrehaError that names the option and the remedy.
    """
    listed: list[Mapping[str, Any]] | None = params.get("hosts")
    if listed is None:
        if not params.get("hostname"):
            raise LibrehaError("no host is named", remedy="list the hosts in hosts, or give a single one with hostname")
        listed = [{"name": params["hostname"]}]
    accesses = [_read_host(index, host, params) for index, host in enumerate(listed)]
    _refuse_twice("name", (access.name.lower() for access in accesses), "give every host a name of its own")
    _refuse_twice(
        "hostname and port",
        ("%s:%d" % (access.connection.hostname.lower(), access.connection.port) for access in accesses),
        "two entries lead to the same host: remove one, or correct its hostname or port",
    )
    shared = shared_devices({access.name: access.bmc for access in accesses})
    if shared:
        _refuse(shared, "give each host the BMC, system or plug of its own: nothing was asked or changed")
    return accesses


def _read_host(index: int, host: Mapping[str, Any], params: Mapping[str, Any]) -> HostAccess:
    name = str(host["name"]).strip()
    place = "hosts[%d]" % index
    if not name:
        _refuse("%s.name is empty" % place, "give the host the name that it has in the inventory")
    given: dict[str, Any] = {option: host.get(option) if host.get(option) is not None else params.get(option) for option in SHARED}
    for option in ("username", "password"):
        if not given[option]:
            _refuse(
                "%s is missing for host %s" % (option, name),
                "give %s.%s, or %s for all hosts (module_defaults, or the environment variable VMWARE_%s)"
                % (place, option, option, "USER" if option == "username" else "PASSWORD"),
            )
    if not 1 <= given["port"] <= 65535:
        _refuse("port %s of host %s is no TCP port" % (given["port"], name), "give a port from 1 to 65535; ESXi has 443")
    if not 0 < given["timeout"] <= LONGEST_TIMEOUT:
        _refuse(
            "timeout %s of host %s is not between 0 and %d" % (given["timeout"], name, LONGEST_TIMEOUT),
            "give the seconds to wait for an answer, such as 5",
        )
    if given["proxy_host"] and not given["proxy_port"]:
        _refuse("proxy_host is given for host %s, but no proxy_port" % name, "give the proxy's port with proxy_port")
    if given["validate_certs"]:
        _readable(given["ca_path"], "ca_path", name)
    if given["proxy_host"]:
        given["proxy_host"] = _host_of("proxy_host", given["proxy_host"], "proxy_port", name)
    hostname = _host_of("hostname", str(host.get("hostname") or name), "port", name)
    connection = Connection(name=name, hostname=hostname, **given)
    return HostAccess(connection, read_bmc(name, host) if host.get("bmc") else ())


def _host_of(option: str, given: str, port: str, host: str) -> str:
    """A name or an address as the resolver takes it; one host has one spelling."""
    try:
        return bare_host(given)
    except ValueError as error:
        _refuse("%s of host %s: %s" % (option, host, error), "give a name or an address alone, and the port in %s" % port)


def _readable(path: str | None, option: str, host: str) -> None:
    if path and not os.access(path, os.R_OK):
        remedy = "put a file of PEM certificates there, on the machine where the task runs, or let the role vmware_server write it"
        _refuse("%s of host %s: %s cannot be read" % (option, host, path), remedy)


def _refuse_twice(what: str, values: Iterable[str], remedy: str) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            _refuse("hosts lists %s %s twice" % (what, value), remedy)
        seen.add(value)


def _refuse(message: str, remedy: str) -> NoReturn:
    raise LibrehaError(message, remedy=remedy)


def read_events_after(given: Mapping[str, Any], accesses: Iterable[HostAccess]) -> dict[str, int]:
    """``events_after`` as host -> key. A host that is not listed is ignored: it may have left the cluster since."""
    known = {access.name for access in accesses}
    keys: dict[str, int] = {}
    for host, key in given.items():
        if isinstance(key, bool) or not str(key).strip().isdigit():
            _refuse("events_after of host %s is %r" % (host, key), "give the key of an event, a whole number from 0 on")
        if host in known:
            keys[str(host)] = int(key)
    return keys
