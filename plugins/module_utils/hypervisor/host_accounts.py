# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's local users, roles, and the permissions on its root folder, which hold for everything on the host.

Sources: vSphere Web Services API reference, HostLocalAccountManager, AuthorizationManager, UserDirectory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..decide.answers import ApiAnswer
from .interface import HostUnavailable
from .pyvmomi import vim
from .setup import HostSetup

ADMINISTRATOR = -1  # its role's number on every host; it has each privilege that the host knows
OF_EVERY_ROLE = "System."  # Anonymous, Read and View: the host adds them to each role by itself


@dataclass(frozen=True)
class Role:
    """``privileges`` without those that every role has; ``built_in``: it cannot be changed."""

    id: int
    name: str
    privileges: frozenset[str]
    built_in: bool = False


@dataclass(frozen=True)
class Account:
    """As the host has it. ``description`` None: there is no such user. ``role`` None: it has no permission on the root folder."""

    description: str | None
    role: Role | None
    propagates: bool
    roles: tuple[Role, ...]  # all of the host

    @property
    def known_privileges(self) -> frozenset[str]:
        return next((one.privileges for one in self.roles if one.id == ADMINISTRATOR), frozenset())


class HostAccounts:
    """Those of the host that *setup* is logged in to."""

    def __init__(self, setup: HostSetup) -> None:
        content = setup.session.content
        self._setup = setup
        self._root = content.rootFolder
        self._accounts = self._present(content.accountManager, "local accounts")
        self._authorization = self._present(content.authorizationManager, "roles")
        self._directory = self._present(content.userDirectory, "user directory")

    def read(self, user: str) -> Account:
        """Three round trips."""
        roles = tuple(_role(one) for one in self._setup.read(self._authorization, "roleList"))
        with self._setup.session.reading("reading the user %s and its permission" % user):
            description = self._description(user)
            permissions = self._authorization.RetrieveEntityPermissions(self._root, False) or ()
        own = next((one for one in permissions if not one.group and one.principal == user), None)
        role = next((one for one in roles if own is not None and one.id == own.roleId), None)
        return Account(description, role, bool(own is not None and own.propagate), roles)

    def _description(self, user: str) -> str | None:
        try:
            found = self._directory.RetrieveUserGroups(
                domain=None, searchStr=user, belongsToGroup=None, belongsToUser=None, exactMatch=True, findUsers=True, findGroups=False
            )
        except (vim.fault.NotFound, vim.fault.UserNotFound):
            return None
        return next((str(one.fullName or "") for one in found or () if one.principal == user and not one.group), None)

    def add_role(self, name: str, privileges: Iterable[str]) -> None:
        self._change("creating the role %s" % name, lambda: self._authorization.AddRole(name, sorted(privileges)))

    def update_role(self, role: Role, privileges: Iterable[str]) -> None:
        self._change("changing the role %s" % role.name, lambda: self._authorization.UpdateRole(role.id, role.name, sorted(privileges)))

    def create_user(self, user: str, password: str, description: str) -> None:
        spec = self._spec(user, description, password)
        self._change("creating the user %s" % user, lambda: self._accounts.CreateUser(spec))

    def update_user(self, user: str, description: str, password: str | None = None) -> None:
        """None leaves the password alone."""
        spec = self._spec(user, description, password)
        self._change("changing the user %s" % user, lambda: self._accounts.UpdateUser(spec))

    def permit(self, user: str, role: str) -> None:
        """On the root folder and everything below. The role may have been made a moment ago, so its number is read now."""
        roles = [_role(one) for one in self._setup.read(self._authorization, "roleList")]
        number = next(one.id for one in roles if one.name == role)
        permission = vim.AuthorizationManager.Permission(principal=user, group=False, roleId=number, propagate=True)
        tried = "giving the user %s the role %s" % (user, role)
        self._change(tried, lambda: self._authorization.SetEntityPermissions(self._root, [permission]))

    def _spec(self, user: str, description: str, password: str | None) -> Any:
        return vim.host.LocalAccountManager.AccountSpecification(id=user, description=description, password=password)

    def _change(self, tried: str, request: Callable[[], Any]) -> None:
        with self._setup.session.writing(tried, None):
            request()

    def _present(self, manager: Any, what: str) -> Any:
        if manager is None:
            raise HostUnavailable(
                "the host has no %s" % what,
                answer=ApiAnswer.BROKEN,
                host=self._setup.name,
                remedy="give the address of an ESXi host itself, not of a vCenter",
            )
        return manager


def _role(found: Any) -> Role:
    privileges = frozenset(str(name) for name in found.privilege or () if not str(name).startswith(OF_EVERY_ROLE))
    return Role(int(found.roleId), str(found.name), privileges, bool(found.system))
