# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A whole iSCSI target as values: what is wanted and what is found have the same form, so that they can be compared.

Attributes and parameters are kept as the text that configfs has. A wanted object holds those that it says something about, a found
one all that there are. Initiator and target names are in lower case, as iSCSI compares them (RFC 7143, 4.2.7.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, str] = MappingProxyType({})
HIDDEN = "(hidden)"


@dataclass(frozen=True)
class Backstore:
    """What a LUN's data lies on. ``size`` in bytes, None for a disk; ``serial`` is "" when it is not said which."""

    name: str
    kind: str  # block or fileio
    path: str
    size: int | None = None
    serial: str = ""
    write_back: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """As rtslib's save file has it."""
        return "/backstores/%s/%s" % (self.kind, self.name)


@dataclass(frozen=True)
class Chap:
    """Who the initiator says that it is, and with the mutual pair, who the target says that it is."""

    user: str = ""
    secret: str = field(default="", repr=False)
    mutual_user: str = ""
    mutual_secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class MappedLun:
    """``lun`` is the TPG's number."""

    lun: int
    write_protect: bool = False


@dataclass(frozen=True)
class Acl:
    """What one initiator may see: number that it sees -> LUN."""

    initiator: str
    luns: Mapping[int, MappedLun] = field(default_factory=dict)
    chap: Chap = field(default_factory=Chap)
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Portal:
    address: str
    port: int = 3260
    floating: bool = field(default=False, compare=False)
    """Whether the machine may do without the address now: it comes when the machine takes over from another."""

    def __str__(self) -> str:
        return "%s:%d" % (self.bracketed, self.port)

    @property
    def bracketed(self) -> str:
        """The address as LIO takes it."""
        return "[%s]" % self.address if ":" in self.address else self.address


@dataclass(frozen=True)
class Tpg:
    """A target portal group. ``luns``: number -> place of the backstore."""

    tag: int
    enabled: bool = True
    portals: frozenset[Portal] = frozenset()
    luns: Mapping[int, str] = field(default_factory=dict)
    acls: Mapping[str, Acl] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A target and its backstores by place. ``exists`` is False for one that was looked for and not found."""

    name: str
    backstores: Mapping[str, Backstore] = field(default_factory=dict)
    tpgs: Mapping[int, Tpg] = field(default_factory=dict)
    exists: bool = True


def description(model: Model, said: Model) -> dict[str, Any]:
    """*model* as the diff shows it: the attributes that *said*, what is wanted, speaks of, and never a secret, only whether it
    differs from the one that is wanted."""
    if not model.exists:
        return {}
    return {
        "name": model.name,
        "backstores": {
            store.name: {
                "type": store.kind,
                "path": store.path,
                "size": store.size,
                "serial": store.serial,
                "write_back": store.write_back,
                "attributes": _said(store.attributes, said.backstores[place].attributes if place in said.backstores else NOTHING),
            }
            for place, store in sorted(model.backstores.items())
        },
        "tpgs": {str(tag): _tpg(tpg, said.tpgs.get(tag, Tpg(tag))) for tag, tpg in sorted(model.tpgs.items())},
    }


def _tpg(tpg: Tpg, said: Tpg) -> dict[str, Any]:
    return {
        "enabled": tpg.enabled,
        "portals": sorted(map(str, tpg.portals)),
        "luns": {str(number): place.rpartition("/")[2] for number, place in sorted(tpg.luns.items())},
        "attributes": _said(tpg.attributes, said.attributes),
        "parameters": _said(tpg.parameters, said.parameters),
        "acls": {name: _acl(acl, said.acls.get(name, Acl(name))) for name, acl in sorted(tpg.acls.items())},
    }


def _acl(acl: Acl, said: Acl) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "luns": {
            str(number): "LUN %d%s" % (mapped.lun, ", read only" if mapped.write_protect else "")
            for number, mapped in sorted(acl.luns.items())
        },
        "attributes": _said(acl.attributes, said.attributes),
    }
    for key in ("user", "mutual_user"):
        if getattr(acl.chap, key):
            shown["chap_%s" % key] = getattr(acl.chap, key)
    for key in ("secret", "mutual_secret"):
        if getattr(acl.chap, key):
            same = getattr(said.chap, key) == getattr(acl.chap, key)
            shown["chap_%s" % key] = HIDDEN if same else "%s, another one" % HIDDEN
    return shown


def _said(attributes: Mapping[str, str], said: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in sorted(attributes.items()) if key in said}
