# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``esxi_iscsi``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from ..addresses import bare_host
from ..configure.esxi_iscsi import Logins, Wanted, set_up
from ..errors import LibrehaError
from ..hypervisor.iscsi_adapter import DEFAULT_PORT, LEVELS, Chap, Portal, StaticTarget
from .options.hosts import read_single_host, single_host_spec

SECRET_LENGTH = range(12, 256)  # RFC 7143, 9.2.1: at least 96 bits; LIO takes no more than 255


def argument_spec() -> dict[str, Any]:
    portal = {"address": {"type": "str", "required": True}, "port": {"type": "int", "default": DEFAULT_PORT}}
    chap = {
        "level": {"type": "str", "choices": list(LEVELS), "default": "required"},
        "user": {"type": "str"},
        "secret": {"type": "str", "no_log": True},
        "mutual_user": {"type": "str"},
        "mutual_secret": {"type": "str", "no_log": True},
        "update_secret": {"type": "str", "choices": ["always", "on_create"], "default": "on_create", "no_log": False},
    }
    return {
        **single_host_spec(),
        "initiator": {"type": "str"},
        "vmkernel_ports": {"type": "list", "elements": "str"},
        "chap": {"type": "dict", "options": chap},
        "send_targets": {"type": "list", "elements": "dict", "options": portal},
        "static_targets": {"type": "list", "elements": "dict", "options": {"name": {"type": "str", "required": True}, **portal}},
        "purge": {"type": "bool", "default": False},
        "rescan": {"type": "bool", "default": False},
        "require_login": {"type": "bool", "default": True},
        "rescan_timeout": {"type": "float", "default": 120.0},
        "login_timeout": {"type": "float", "default": 30.0},
    }


def run(params: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """The task's result. Raises LibrehaError; details say what was done before."""
    wanted = read_wanted(params)
    logins = Logins(params["rescan"], params["require_login"], params["rescan_timeout"], params["login_timeout"])
    return set_up(read_single_host(params).connection, wanted, logins, check_mode)


def read_wanted(params: Mapping[str, Any]) -> Wanted:
    """Raises LibrehaError that names the option."""
    chap, secret, mutual, always = _read_chap(params.get("chap"))
    ports, send, static = params.get("vmkernel_ports"), params.get("send_targets"), params.get("static_targets")
    initiator = params.get("initiator")
    return Wanted(
        initiator=_iscsi_name(initiator, "initiator") if initiator else None,
        vmkernel_ports=None if ports is None else frozenset(ports),
        chap=chap,
        secret=secret,
        mutual_secret=mutual,
        always_set_secret=always,
        send_targets=None if send is None else frozenset(_portal(one, "send_targets[%d]" % index) for index, one in enumerate(send)),
        static_targets=None
        if static is None
        else frozenset(
            StaticTarget(_iscsi_name(one["name"], "static_targets[%d].name" % index), _portal(one, "static_targets[%d]" % index))
            for index, one in enumerate(static)
        ),
        purge=params.get("purge", False),
    )


def _portal(given: Mapping[str, Any], place: str) -> Portal:
    port = given.get("port") or DEFAULT_PORT
    if not 1 <= port <= 65535:
        _refuse("%s.port is %s" % (place, port), "give a TCP port; iSCSI has 3260")
    try:
        return Portal(bare_host(given["address"]), port)
    except ValueError as error:
        _refuse("%s.address: %s" % (place, error), "give a name or an address alone, and the port in %s.port" % place)


def _iscsi_name(name: str, place: str) -> str:
    """In lower case, as iSCSI compares names (RFC 7143, 4.2.7.1)."""
    if not name.lower().startswith(("iqn.", "eui.", "naa.")) or any(character.isspace() for character in name) or len(name) > 223:
        _refuse("%s is %r, which is no iSCSI name" % (place, name), "give one such as iqn.1998-01.com.vmware:esx1")
    return name.lower()


def _read_chap(given: Mapping[str, Any] | None) -> tuple[Chap | None, str, str, bool]:
    """(what can be compared, secret, mutual secret, whether to set them again)"""
    if given is None:
        return None, "", "", False
    level, mutual_user = given["level"], given.get("mutual_user") or ""
    secret, mutual = given.get("secret") or "", given.get("mutual_secret") or ""
    if level == "prohibited":
        if secret or mutual or mutual_user:
            _refuse("chap.level is prohibited, and there are a user or secrets", "leave them out, or give chap.level=required")
        return Chap(), "", "", False
    _require_secret(secret, "chap.secret")
    if bool(mutual_user) != bool(mutual):
        _refuse("chap.mutual_user and chap.mutual_secret belong together", "give both, or none")
    if mutual_user:
        _require_secret(mutual, "chap.mutual_secret")
        if level != "required":
            _refuse("chap.level is %s; mutual CHAP needs required" % level, "give chap.level=required")
        if mutual == secret:
            _refuse("chap.mutual_secret is chap.secret", "give another one: with the same one a stranger could answer for the target")
    return Chap(level, given.get("user") or "", mutual_user), secret, mutual, given["update_secret"] == "always"


def _require_secret(secret: str, place: str) -> None:
    if len(secret) not in SECRET_LENGTH or not all("!" <= character <= "~" for character in secret):
        _refuse("%s is not 12 to 255 printable ASCII characters without spaces" % place, "give one as the target has it")


def _refuse(message: str, remedy: str) -> NoReturn:
    raise LibrehaError(message, remedy=remedy)
