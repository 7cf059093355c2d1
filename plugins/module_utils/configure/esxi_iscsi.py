# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's software iSCSI adapter: look at it, plan the difference, carry it out, and prove it by logins.

The plan is pure (``make_plan``), so check mode shows exactly what a run would do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import LibrehaError
from ..hypervisor.interface import Connection
from ..hypervisor.iscsi_adapter import Adapter, Chap, IscsiAdapter, IscsiState, Portal, StaticTarget, names
from ..hypervisor.setup import HostSetup
from .steps import telling


@dataclass(frozen=True)
class Wanted:
    """The description. None: not described, left alone."""

    initiator: str | None = None
    vmkernel_ports: frozenset[str] | None = None
    chap: Chap | None = None
    secret: str = field(default="", repr=False)
    mutual_secret: str = field(default="", repr=False)
    always_set_secret: bool = False
    send_targets: frozenset[Portal] | None = None
    static_targets: frozenset[StaticTarget] | None = None
    purge: bool = False


@dataclass(frozen=True)
class Logins:
    """What is to be proved, and how long that may take, in seconds. ``rescan``: also where nothing is changed."""

    rescan: bool = False
    required: bool = True
    rescan_timeout: float = 120.0
    login_timeout: float = 30.0


@dataclass(frozen=True)
class Step:
    """One change: in words, and how it is made of an adapter whose device is then known."""

    text: str
    act: Callable[[IscsiAdapter, str], None] = field(repr=False)


def make_plan(wanted: Wanted, found: Adapter) -> list[Step]:
    """The steps from *found* to *wanted*, in an order in which each may be taken: the adapter must be on, and its name and secrets
    right before a target is asked."""
    steps = [] if found.enabled else [Step("enable the software iSCSI adapter", lambda adapter, _device: None)]  # done before all others
    if wanted.initiator and wanted.initiator != found.initiator:
        name = wanted.initiator
        steps.append(Step("name the initiator %s" % name, lambda adapter, device: adapter.rename(device, name)))
    steps += _difference(
        "bind", "unbind", wanted.vmkernel_ports, found.vmkernel_ports, wanted.purge, IscsiAdapter.bind, IscsiAdapter.unbind
    )
    chap = wanted.chap
    if chap is not None and (chap != found.chap or (wanted.always_set_secret and chap.level != "prohibited")):
        what = "set CHAP" if chap != found.chap else "set the CHAP secret"
        steps.append(Step(what, lambda adapter, device: adapter.set_chap(device, chap, wanted.secret, wanted.mutual_secret)))
    steps += _difference(
        "add the send target", "remove the send target", wanted.send_targets, found.send_targets, wanted.purge,
        IscsiAdapter.add_send_target, IscsiAdapter.remove_send_target,
    )  # fmt: skip
    steps += _difference(
        "add the target", "remove the target", wanted.static_targets, found.static_targets, wanted.purge,
        IscsiAdapter.add_static_target, IscsiAdapter.remove_static_target,
    )  # fmt: skip
    return steps


def _difference(
    add: str,
    remove: str,
    wanted: frozenset[Any] | None,
    found: frozenset[Any],
    purge: bool,
    adding: Callable[[IscsiAdapter, str, Any], None],
    removing: Callable[[IscsiAdapter, str, Any], None],
) -> list[Step]:
    """What is added comes first, so that there is no moment without a path."""
    if wanted is None:
        return []
    steps = [Step("%s %s" % (add, one), _with(adding, one)) for one in sorted(wanted - found)]
    if purge:
        steps += [Step("%s %s" % (remove, one), _with(removing, one)) for one in sorted(found - wanted)]
    return steps


def _with(change: Callable[[IscsiAdapter, str, Any], None], one: Any) -> Callable[[IscsiAdapter, str], None]:
    return lambda adapter, device: change(adapter, device, one)


def expected(wanted: Wanted, found: Adapter) -> Adapter:
    """The adapter after the plan."""

    def united(described: frozenset[Any] | None, there: frozenset[Any]) -> frozenset[Any]:
        if described is None:
            return there
        return described if wanted.purge else described | there

    return replace(
        found,
        device=found.device or "(new)",
        initiator=wanted.initiator or found.initiator,
        vmkernel_ports=united(wanted.vmkernel_ports, found.vmkernel_ports),
        chap=wanted.chap or found.chap,
        send_targets=united(wanted.send_targets, found.send_targets),
        static_targets=united(wanted.static_targets, found.static_targets),
    )


def set_up(connection: Connection, wanted: Wanted, logins: Logins, check_mode: bool) -> dict[str, Any]:
    """The module's result. Raises LibrehaError; details say what was done before."""
    with HostSetup(connection) as setup:
        adapter = IscsiAdapter(setup)
        before = adapter.read()
        wanted = _settled(wanted, before.adapter)
        _refuse_rename(wanted, before, setup.name)
        steps = make_plan(wanted, before.adapter)
        texts = [step.text for step in steps]
        after = before if check_mode else _carry_out(adapter, steps, before, logins.rescan_timeout)
        if not check_mode:
            if not steps and (logins.rescan or _missing(wanted, after)):
                adapter.rescan(after.adapter.device, logins.rescan_timeout)
            after = adapter.wait_for(lambda state: not _missing(wanted, state), logins.login_timeout)
            if logins.required:
                _require_login(wanted, after, setup.name, texts)
    shown = expected(wanted, before.adapter) if check_mode else after.adapter
    return {
        "changed": bool(steps),
        "steps": texts,
        "adapter": described(shown),
        "logged_in": sorted(after.logged_in),
        "undescribed": _undescribed(wanted, before.adapter),
        "diff": {"before": described(before.adapter), "after": described(shown)},
    }


def _carry_out(adapter: IscsiAdapter, steps: list[Step], before: IscsiState, rescan_timeout: float) -> IscsiState:
    if not steps:
        return before
    done: list[str] = []
    device = before.adapter.device
    with telling(done):
        if not device:
            device = adapter.enable()
        for step in steps:
            step.act(adapter, device)
            done.append(step.text)
        adapter.rescan(device, rescan_timeout)
    return adapter.read()


def _settled(wanted: Wanted, found: Adapter) -> Wanted:
    """ESXi's own default for the CHAP name is the initiator's name."""
    chap = wanted.chap
    if chap is None or chap.level == "prohibited" or chap.user:
        return wanted
    name = wanted.initiator or found.initiator
    if not name:
        raise LibrehaError(
            "the adapter is off, so its initiator's name is not known, which is the default of chap.user",
            remedy="give initiator, or chap.user",
        )
    return replace(wanted, chap=replace(chap, user=name))


def _refuse_rename(wanted: Wanted, state: IscsiState, host: str) -> None:
    """A session keeps the name that it logged in with, and the target knows the host by it: fencing would look for the wrong one."""
    found = state.adapter.initiator
    if wanted.initiator and found and wanted.initiator != found and state.logged_in:
        raise LibrehaError(
            "its initiator is %s and logged in at %s; it would have to be renamed to %s"
            % (found, ", ".join(sorted(state.logged_in)), wanted.initiator),
            host=host,
            remedy="describe the name that it has; or move its VMs away, remove its targets, restart it, and run this again",
        )


# Proving it


def _missing(wanted: Wanted, state: IscsiState) -> list[str]:
    """Targets without a path that works: those described, and one at least where discovery is described."""
    described = {target.name for target in wanted.static_targets or ()}
    missing = sorted(described - state.logged_in)
    if wanted.send_targets and not missing:
        discovered = state.discovered - described
        missing = sorted(discovered - state.logged_in) if discovered else []
        if not discovered and not described:
            missing = ["any target of %s" % ", ".join(names(wanted.send_targets))]
    return missing


def _require_login(wanted: Wanted, state: IscsiState, host: str, steps: list[str]) -> None:
    missing = _missing(wanted, state)
    if not missing:
        return
    secret = "that the target has this CHAP secret (a host never tells the one it has: chap.update_secret=always sets it again), "
    raise LibrehaError(
        "no path that works to %s" % ", ".join(missing),
        host=host,
        remedy="check that the target admits %s, %sexports it a LUN, and that the storage network carries the traffic"
        % (state.adapter.initiator, secret if state.adapter.chap.level != "prohibited" else ""),
        details={"steps": steps},
    )


def described(adapter: Adapter) -> dict[str, Any]:
    """The adapter as results and diffs show it. A host tells no secret, so there is none here."""
    return {
        "enabled": adapter.enabled,
        "device": adapter.device,
        "initiator": adapter.initiator,
        "vmkernel_ports": sorted(adapter.vmkernel_ports),
        "chap": {"level": adapter.chap.level, "user": adapter.chap.user, "mutual_user": adapter.chap.mutual_user},
        "send_targets": names(adapter.send_targets),
        "static_targets": names(adapter.static_targets),
    }


def _undescribed(wanted: Wanted, found: Adapter) -> list[str]:
    """What the host has beyond a description that is not to be purged."""
    if wanted.purge:
        return []
    there = (
        (wanted.vmkernel_ports, found.vmkernel_ports),
        (wanted.send_targets, found.send_targets),
        (wanted.static_targets, found.static_targets),
    )
    return [name for described, has in there if described is not None for name in names(has - described)]
