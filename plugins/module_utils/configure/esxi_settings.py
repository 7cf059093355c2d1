# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's settings made as they are described. The plan is pure (``make_plan``), so check mode shows exactly what a run would do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import LibrehaError
from ..hypervisor.host_settings import ROUND_ROBIN, HostSettings, Settings
from ..hypervisor.interface import Connection
from ..hypervisor.setup import HostSetup
from .steps import telling

POLICIES = {"round_robin": ROUND_ROBIN, "fixed": "VMW_PSP_FIXED", "most_recently_used": "VMW_PSP_MRU"}


@dataclass(frozen=True)
class Wanted:
    """The description. None: not described, left alone. ``options``: values as a person writes them."""

    autostart: bool | None = None
    ntp_servers: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    path_policy: str | None = None  # of POLICIES' values
    targets: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Step:
    text: str
    act: Callable[[HostSettings], None] = field(repr=False)


def make_plan(wanted: Wanted, found: Settings) -> list[Step]:
    """*wanted.options* have the types of the host (see ``typed``)."""
    steps = []
    if wanted.autostart is not None and wanted.autostart != found.autostart:
        on = wanted.autostart
        steps.append(Step("switch autostart %s" % ("on" if on else "off"), lambda host: host.set_autostart(on)))
    servers = wanted.ntp_servers
    if servers is not None:
        if servers and (found.ntp_policy != "on" or not found.ntp_runs):
            steps.append(Step("start the NTP service, now and with the host", lambda host: host.start_ntp()))
        if servers != found.ntp_servers:
            steps.append(Step("take the time from %s" % (", ".join(servers) or "nobody"), lambda host: host.set_ntp_servers(servers)))
    steps += [
        Step("set %s to %r" % (key, value), _setting(key, value))
        for key, value in sorted(wanted.options.items())
        if value != found.options[key]
    ]
    policy = wanted.path_policy
    if policy is not None:
        steps += [
            Step("use %s for the paths of %s" % (policy, disk), _using(one.unit, policy))
            for disk, one in sorted(found.path_policies.items())
            if one.policy != policy
        ]
    return steps


def _setting(key: str, value: Any) -> Callable[[HostSettings], None]:
    return lambda host: host.set_option(key, value)


def _using(unit: str, policy: str) -> Callable[[HostSettings], None]:
    return lambda host: host.set_path_policy(unit, policy)


def typed(given: Mapping[str, Any], found: Mapping[str, Any], host: str) -> dict[str, Any]:
    """The options with the types that the host has. Raises LibrehaError that names all that cannot be set."""
    wrong, options = [], {}
    for key, value in given.items():
        if key not in found:
            wrong.append("%s is no option of this host" % key)
            continue
        kind = type(found[key])
        try:
            options[key] = _boolean(value) if isinstance(found[key], bool) else kind(value)
        except (TypeError, ValueError):
            wrong.append("%s is %r, and the host has a %s (%r)" % (key, value, kind.__name__, found[key]))
    if wrong:
        raise LibrehaError("; ".join(wrong), host=host, remedy="nothing was changed; compare with the advanced settings in the host client")
    return options


def _boolean(value: Any) -> bool:
    if str(value).lower() not in ("true", "false"):
        raise ValueError(value)
    return str(value).lower() == "true"


def set_up(connection: Connection, wanted: Wanted, check_mode: bool) -> dict[str, Any]:
    """The module's result. Raises LibrehaError; details say what was done before."""
    with HostSetup(connection) as setup:
        host = HostSettings(setup)
        before = host.read(sorted(wanted.options), wanted.targets)
        wanted = replace(wanted, options=typed(wanted.options, before.options, setup.name))
        steps = make_plan(wanted, before)
        if not check_mode:
            _carry_out(host, steps)
    return {
        "changed": bool(steps),
        "steps": [step.text for step in steps],
        "diff": {"before": _shown(before), "after": _shown(_expected(wanted, before))},
    }


def _carry_out(host: HostSettings, steps: list[Step]) -> None:
    done: list[str] = []
    with telling(done):
        for step in steps:
            step.act(host)
            done.append(step.text)


def _expected(wanted: Wanted, found: Settings) -> Settings:
    servers = found.ntp_servers if wanted.ntp_servers is None else wanted.ntp_servers
    on = bool(wanted.ntp_servers)
    policies = {disk: type(one)(one.unit, wanted.path_policy) if wanted.path_policy else one for disk, one in found.path_policies.items()}
    return Settings(
        autostart=found.autostart if wanted.autostart is None else wanted.autostart,
        ntp_servers=servers,
        ntp_policy="on" if on else found.ntp_policy,
        ntp_runs=on or found.ntp_runs,
        options={**found.options, **wanted.options},
        path_policies=policies,
    )


def _shown(settings: Settings) -> dict[str, Any]:
    return {
        "autostart": settings.autostart,
        "ntp_servers": list(settings.ntp_servers),
        "ntp_service": {"policy": settings.ntp_policy, "running": settings.ntp_runs},
        "options": {key: _plain(value) for key, value in settings.options.items()},
        "path_policies": {disk: one.policy for disk, one in settings.path_policies.items()},
    }


def _plain(value: Any) -> Any:
    """pyVmomi's long is no plain number to a serializer."""
    if isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else str(value)
