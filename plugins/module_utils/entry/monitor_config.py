# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The resident monitor's configuration: one JSON file, as the role ha_monitor writes it from the inventory, and its secrets apart.

The file has the options ``policy``, ``hosts``, ``storage`` and ``state_url`` of the module ha_run, with the same meaning and checked by the
same argument specs, and may have ``socket`` and ``heartbeat``. The secrets' file has ``hosts``: name -> options of that host, such as its
password, and may have ``state_url``. Each option is given in one of the two. A wrong configuration is refused as a whole.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import urlsplit

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..cycle.real import Site
from ..errors import LibrehaError
from ..fence.agent_process import mask
from ..record.opening import parse, secrets_of
from ..service.client import DEFAULT_SOCKET
from .options.site import read_site, site_spec

DEFAULT_CONFIG = "/etc/libreha/monitor.json"
SECRETS = "secrets.json"  # beside the configuration, or among the credentials that systemd hands over
REQUIRED = ("policy", "hosts", "storage", "state_url")
OPTIONS = (*REQUIRED, "socket", "heartbeat")


@dataclass(frozen=True)
class Config:
    """What the monitor works by. ``heartbeat``: a URL, or a command with its arguments, for a dead man's switch elsewhere; "" is none."""

    site: Site
    socket: str = DEFAULT_SOCKET
    heartbeat: str = ""


def read_config(path: str = DEFAULT_CONFIG, secrets: Optional[str] = None) -> Config:
    """Read and check it; *secrets* is the path of the secrets' file, by default what :func:`secrets_file` finds.

    Raises:
        LibrehaError: Everything that is wrong, with file and option, and nothing that is secret; ``details["errors"]`` has them one by one.
    """
    apart = secrets if secrets is not None else secrets_file(path)
    given = _read_object(path)
    hidden = _read_secrets(apart) if apart else {}
    known = list(_strings(hidden))
    try:
        merged = _merge(given, hidden, path, apart)
        known += secrets_of(str(merged.get("state_url") or ""))
        params = _checked(merged, known)
        return Config(read_site(params), _socket_of(given), _heartbeat_of(given))
    except LibrehaError as error:
        errors = error.details.get("errors") or [error.said]
        raise _refused(path, [mask(str(text), known) for text in errors], mask(error.remedy, known)) from None


def secrets_file(path: str) -> Optional[str]:
    """Where the secrets are: among systemd's credentials of this service, or beside the configuration at *path*, or nowhere."""
    folders = [os.environ.get("CREDENTIALS_DIRECTORY", ""), os.path.dirname(os.path.abspath(path))]
    found = [os.path.join(folder, SECRETS) for folder in folders if folder]
    return next((place for place in found if os.path.exists(place)), None)


def _read_object(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as source:
            found = json.load(source)
    except OSError as error:
        raise _refused(path, ["cannot be read: %s" % error.strerror], "run the role ha_monitor, which writes it") from None
    except ValueError as error:  # of JSON its place, never its text
        place = "line %d, column %d" % (error.lineno, error.colno) if isinstance(error, json.JSONDecodeError) else "not UTF-8"
        raise _refused(path, ["is not JSON (%s)" % place]) from None
    if not isinstance(found, dict):
        raise _refused(path, ["is not a JSON object"])
    return found


def _read_secrets(path: str) -> dict[str, Any]:
    with_mode = os.environ.get("CREDENTIALS_DIRECTORY", "") != os.path.dirname(path)  # systemd looks after its own
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise _refused(path, ["cannot be read: %s" % error.strerror]) from None
    if with_mode and stat.S_IMODE(mode) & 0o077:
        raise _refused(path, ["others than its owner may read it (mode %04o)" % stat.S_IMODE(mode)], "chmod 600 %s" % path)
    found = _read_object(path)
    unknown = sorted(set(found) - {"hosts", "state_url"})
    if unknown:
        raise _refused(path, ["%s: unknown option; the options there are hosts and state_url" % ", ".join(unknown)])
    hosts = found.get("hosts", {})
    if not isinstance(hosts, dict) or not all(isinstance(options, dict) for options in hosts.values()):
        raise _refused(path, ["hosts: must be an object that has an object of options for each host's name"])
    return found


def _merge(given: Mapping[str, Any], hidden: Mapping[str, Any], path: str, apart: Optional[str]) -> dict[str, Any]:
    """The configuration with the secrets in it. Raises LibrehaError for what is not to be there, missing, or said twice."""
    errors = ["%s: unknown option; the options are %s" % (name, ", ".join(OPTIONS)) for name in sorted(set(given) - set(OPTIONS))]
    errors += ["%s: is missing" % name for name in REQUIRED if name not in given and name not in hidden]
    if "state_url" in given and "state_url" in hidden:
        errors.append("state_url: is in %s too; give it in one of the two" % apart)
    merged = {name: given[name] for name in REQUIRED if name in given}
    if "state_url" in hidden:
        merged["state_url"] = hidden["state_url"]
    for name in REQUIRED:
        kind = {"policy": dict, "state_url": str}.get(name, list)
        if name in merged and not isinstance(merged[name], kind):
            errors.append("%s: is not %s" % (name, {dict: "an object", str: "a text", list: "a list"}[kind]))
    if not errors:
        merged["hosts"] = list(_with_secrets(merged["hosts"], hidden.get("hosts", {}), str(apart), errors))
    if errors:
        raise LibrehaError("; ".join(errors), details={"errors": errors})
    return merged


def _with_secrets(hosts: list[Any], secrets: Mapping[str, Any], apart: str, errors: list[str]) -> Iterator[Any]:
    names = {host.get("name") for host in hosts if isinstance(host, dict)}
    errors += ["hosts: %s has secrets of %s, which is none of the hosts" % (apart, name) for name in sorted(set(secrets) - names)]
    for index, host in enumerate(hosts):
        if not isinstance(host, dict):
            errors.append("hosts[%d]: is not an object" % index)
            continue
        more = secrets.get(str(host.get("name")), {})
        for option in sorted(set(more) & set(host)):
            errors.append("hosts[%d].%s of %s: is in %s too; give it in one of the two" % (index, option, host["name"], apart))
        yield {**host, **more}


def _checked(merged: Mapping[str, Any], known: list[str]) -> dict[str, Any]:
    """The parameters as the module would get them; what is secret among them is added to *known*. The environment sets no option here."""
    spec = {name: {key: value for key, value in option.items() if key != "fallback"} for name, option in site_spec().items()}
    result = ArgumentSpecValidator(spec).validate(dict(merged))
    known += [value for value in result._no_log_values if isinstance(value, str)]
    if result.error_messages:
        raise LibrehaError("; ".join(result.error_messages), details={"errors": list(result.error_messages)})
    params: dict[str, Any] = result.validated_parameters
    parse(params["state_url"])
    return params


def _socket_of(given: Mapping[str, Any]) -> str:
    path = given.get("socket") or DEFAULT_SOCKET
    if not isinstance(path, str) or not os.path.isabs(path) or len(os.fsencode(path)) > 107:  # sun_path, unix(7)
        raise LibrehaError("socket: must be an absolute path of at most 107 bytes")
    return path


def _heartbeat_of(given: Mapping[str, Any]) -> str:
    heartbeat = given.get("heartbeat") or ""
    if not isinstance(heartbeat, str):
        raise LibrehaError("heartbeat: is not a text")
    if heartbeat and not heartbeat.startswith("/") and urlsplit(heartbeat).scheme not in ("http", "https"):
        raise LibrehaError("heartbeat: must be a URL (http:// or https://), or a command that begins with its absolute path")
    return heartbeat


def _strings(value: Any) -> Iterator[str]:
    """Every text in the secrets' file, to be masked, but not what is also said in the open, such as a user's name."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name not in ("name", "username", "address", "driver", "kind", "agent"):
                yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _refused(path: str, errors: list[str], remedy: str = "") -> LibrehaError:
    texts = ["%s: %s" % (path, text) for text in errors]
    return LibrehaError("; ".join(texts), remedy=remedy or "correct it: nothing of it is used", details={"errors": texts})
