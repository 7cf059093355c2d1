# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The user that the monitor logs in as, with a role that has what the monitor calls and nothing else. The plan is pure (``make_plan``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import LibrehaError
from ..hypervisor.host_accounts import Account, HostAccounts, Role
from ..hypervisor.interface import Connection
from ..hypervisor.setup import HostSetup
from .steps import telling

OF_THE_HOST = ("root", "vpxuser", "dcui", "vpxd-extension")


@dataclass(frozen=True)
class Wanted:
    """``password`` is needed for a user that is not there yet; ``always``: it is set anew, since a host never shows which one it has."""

    user: str
    role: str
    privileges: frozenset[str]
    description: str
    password: str | None = field(default=None, repr=False)
    always: bool = False


@dataclass(frozen=True)
class Step:
    text: str
    act: Callable[[HostAccounts], None] = field(repr=False)


def make_plan(wanted: Wanted, found: Account, host: str) -> list[Step]:
    """Raises LibrehaError for what cannot be."""
    role = next((one for one in found.roles if one.name == wanted.role), None)
    if role is not None and role.built_in:
        raise LibrehaError(
            "the role %s is one of ESXi's own and cannot be changed" % wanted.role, host=host, remedy="give the role a name of its own"
        )
    unknown = wanted.privileges - found.known_privileges
    if unknown:
        raise LibrehaError("the host knows no privilege %s" % ", ".join(sorted(unknown)), host=host, remedy="correct additional_privileges")
    user = _user_step(wanted, found, host)
    permission = Step("give %s the role %s on the root folder" % (wanted.user, wanted.role), lambda on: on.permit(wanted.user, wanted.role))
    permitted = found.role is not None and found.role.name == wanted.role and found.propagates
    return [*_role_step(wanted, role), *user, *([] if permitted else [permission])]


def _role_step(wanted: Wanted, role: Role | None) -> list[Step]:
    if role is None:
        text = "create the role %s with %s" % (wanted.role, ", ".join(sorted(wanted.privileges)))
        return [Step(text, lambda on: on.add_role(wanted.role, wanted.privileges))]
    if role.privileges == wanted.privileges:
        return []
    changes = ["+" + name for name in sorted(wanted.privileges - role.privileges)]
    changes += ["-" + name for name in sorted(role.privileges - wanted.privileges)]
    return [Step("change the role %s: %s" % (wanted.role, ", ".join(changes)), lambda on: on.update_role(role, wanted.privileges))]


def _user_step(wanted: Wanted, found: Account, host: str) -> list[Step]:
    password = wanted.password
    if found.description is None:
        if not password:
            raise LibrehaError(
                "the host has no user %s, and it cannot be created without a password" % wanted.user,
                host=host,
                remedy="give monitor_password",
            )
        return [Step("create the user %s" % wanted.user, lambda on: on.create_user(wanted.user, password, wanted.description))]
    steps = []
    if wanted.always:
        text = "set the password of the user %s" % wanted.user
        steps.append(Step(text, lambda on: on.update_user(wanted.user, wanted.description, password)))
    elif found.description != wanted.description:
        text = "describe the user %s as %r" % (wanted.user, wanted.description)
        steps.append(Step(text, lambda on: on.update_user(wanted.user, wanted.description)))
    return steps


def refuse_what_cannot_be(wanted: Wanted, connection: Connection) -> None:
    """Before anything is asked. Raises LibrehaError."""
    if wanted.user in OF_THE_HOST:
        raise LibrehaError("%s is one of ESXi's own users" % wanted.user, remedy="give the monitor a user of its own")
    if wanted.user == connection.username:
        raise LibrehaError(
            "%s is the user that this task logs in as, and would lose its rights" % wanted.user,
            host=connection.name,
            remedy="log in as root for this task",
        )
    if wanted.always and not wanted.password:
        raise LibrehaError("update_password is always, and no monitor_password is given", remedy="give it, or leave that at on_create")


def set_up(connection: Connection, wanted: Wanted, check_mode: bool) -> dict[str, Any]:
    """The module's result. Raises LibrehaError; details say what was done before."""
    refuse_what_cannot_be(wanted, connection)
    with HostSetup(connection) as setup:
        accounts = HostAccounts(setup)
        before = accounts.read(wanted.user)
        steps = make_plan(wanted, before, setup.name)
        if not check_mode:
            _carry_out(accounts, steps)
    return {"changed": bool(steps), "steps": [step.text for step in steps], "diff": _diff(wanted, before)}


def _carry_out(accounts: HostAccounts, steps: list[Step]) -> None:
    done: list[str] = []
    with telling(done):
        for step in steps:
            step.act(accounts)
            done.append(step.text)


def _diff(wanted: Wanted, found: Account) -> dict[str, Any]:
    role = next((one for one in found.roles if one.name == wanted.role), None)
    permission = {"role": found.role.name, "propagate": found.propagates} if found.role is not None else None
    return {
        "before": {
            "role": {wanted.role: sorted(role.privileges)} if role is not None else None,
            "user": {wanted.user: found.description} if found.description is not None else None,
            "permission": permission,
        },
        "after": {
            "role": {wanted.role: sorted(wanted.privileges)},
            "user": {wanted.user: wanted.description},
            "permission": {"role": wanted.role, "propagate": True},
        },
    }
