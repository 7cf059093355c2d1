# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module's options, read into a model and checked: what can be wrong in them without a look at the machine.

Every error names the option and is raised before anything is changed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ...addresses import bare_host
from ...storage.target.model import Acl, Backstore, Chap, MappedLun, Model, Portal, Tpg
from ...storage.target.names import derived_serial, iscsi_name, naa_name, read_size
from .option_errors import OptionErrors

_BACKSTORE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
_SECRET = range(12, 256)
"""RFC 7143, 12.1.3 wants 96 random bits outside of IPsec; rtslib writes no more than 255 octets."""
_SERIAL = re.compile(r"[0-9a-fA-F-]{16,64}")
_HIGHEST_LUN, _HIGHEST_MAPPED = 65535, 255  # rtslib's limits

Options = Mapping[str, Any]


def read_model(options: Options) -> Model:
    """What is wanted. Raises WrongOptions naming everything that is wrong, each by its option."""
    wrong = OptionErrors()
    name = _name(wrong, options["name"], "name")
    backstores = _by_name(wrong, [_backstore(wrong, one, "backstores[%d]" % at) for at, one in enumerate(options["backstores"] or [])])
    by_place = {store.place: store for store in backstores.values()}
    _own_serials(wrong, by_place.values(), name)
    _own_paths(wrong, by_place.values())
    tpgs = [_tpg(wrong, one, "tpgs[%d]" % at, backstores) for at, one in enumerate(options["tpgs"] or [])]
    model = Model(name, by_place, {})
    for tpg in tpgs:
        if tpg.tag in model.tpgs:
            wrong.add("tpgs", "has the tag %d twice" % tpg.tag, "give each TPG a tag of its own")
        model = Model(name, by_place, {**model.tpgs, tpg.tag: tpg})
    if not tpgs:
        wrong.add("tpgs", "is empty", "give one TPG with its portals, LUNs and ACLs, or state absent")
    _own_portals(wrong, tpgs)
    wrong.refuse()
    return model


def _name(wrong: OptionErrors, text: str, option: str) -> str:
    """As iscsi_name; one that is wrong is noted, and taken as it is."""
    return wrong.read(lambda: iscsi_name(text, option)) or text.strip().lower()


def _backstore(wrong: OptionErrors, given: Options, option: str) -> Backstore:
    name, kind, path = given["name"], given["type"], given["path"]
    if not _BACKSTORE.fullmatch(name):
        wrong.add(option + ".name", "is %r" % name, "use up to 64 letters, digits and _.:-")
    if not path.startswith("/"):
        wrong.add(option + ".path", "is not an absolute path: %s" % path, "give the whole path")
    if any(character in path for character in ", \t\n"):
        wrong.add(option + ".path", "has a comma or white space: %r" % path, "LIO takes it in one line of options: use another name")
    if kind == "fileio" and not given["size"]:
        wrong.add(option + ".size", "is missing", "a fileio backstore needs its size, such as 500GiB")
    if kind == "block" and given["size"]:
        wrong.add(option + ".size", "is given for a disk", "leave it out: a block backstore is as large as its disk")
    if kind == "block" and given["write_back"]:
        wrong.add(option + ".write_back", "is given for a disk", "leave it out: the disk's own cache is used as the disk reports it")
    if given["serial"] and not _SERIAL.fullmatch(given["serial"]):
        wrong.add(option + ".serial", "is %r" % given["serial"], "give a UUID, or 16 to 64 hexadecimal digits")
    attributes = _texts(wrong, given["attributes"], option + ".attributes", reserved=("emulate_tpu", "emulate_write_cache"))
    if given["unmap"] is not None:
        attributes["emulate_tpu"] = str(int(given["unmap"]))
    return Backstore(
        name=name,
        kind=kind,
        path=path,
        size=wrong.read(lambda: read_size(given["size"], option + ".size")) if given["size"] else None,
        serial=(given["serial"] or "").lower(),
        write_back=bool(given["write_back"]),
        attributes=attributes,
    )


def _tpg(wrong: OptionErrors, given: Options, option: str, backstores: Mapping[str, Backstore]) -> Tpg:
    if not 1 <= given["tag"] <= 65535:
        wrong.add(option + ".tag", "is %d" % given["tag"], "give a number from 1 to 65535")
    luns: dict[int, str] = {}
    for at, lun in enumerate(given["luns"] or []):
        place = "%s.luns[%d]" % (option, at)
        number = lun["number"]
        if not 0 <= number <= _HIGHEST_LUN:
            wrong.add(place + ".number", "is %d" % number, "give a number from 0 to %d" % _HIGHEST_LUN)
        if number in luns:
            wrong.add(place + ".number", "is %d again" % number, "give each LUN a number of its own, and never change it")
        if lun["backstore"] not in backstores:
            wrong.add(place + ".backstore", "is not among backstores: %s" % lun["backstore"], "add it there, or correct the name")
        luns[number] = backstores[lun["backstore"]].place if lun["backstore"] in backstores else ""
    portals: set[Portal] = set()
    for at, one in enumerate(given["portals"] or []):
        portal = _portal(wrong, one, "%s.portals[%d]" % (option, at))
        if portal is None:
            continue
        if portal in portals:
            wrong.add("%s.portals[%d]" % (option, at), "is there twice: %s" % portal, "remove one of them")
        portals.add(portal)
    own = {
        "nopin_timeout": _within(wrong, given, "nopin_timeout", option, 3, 60),
        "nopin_response_timeout": _within(wrong, given, "nopin_response_timeout", option, 3, 60),
    }
    acls: dict[str, Acl] = {}
    for at, one in enumerate(given["acls"] or []):
        acl = _acl(wrong, one, "%s.acls[%d]" % (option, at), luns, own)
        if acl.initiator in acls:
            wrong.add("%s.acls[%d].initiator" % (option, at), "is there twice: %s" % acl.initiator, "give each host a name of its own")
        acls[acl.initiator] = acl
    with_chap = [acl.initiator for acl in acls.values() if acl.chap.user]
    if with_chap and len(with_chap) < len(acls):
        wrong.add(
            option + ".acls",
            "have CHAP for some initiators only, not for %s" % ", ".join(sorted(set(acls) - set(with_chap))),
            "give all of them CHAP or none: a TPG either asks for it or does not",
        )
    reserved = ("authentication", "generate_node_acls", "cache_dynamic_acls", "default_cmdsn_depth")
    return Tpg(
        tag=given["tag"],
        enabled=bool(given["enabled"]),
        portals=frozenset(portals),
        luns=luns,
        acls=acls,
        attributes={
            **_texts(wrong, given["attributes"], option + ".attributes", reserved=reserved),
            "authentication": str(int(bool(with_chap))),
            "generate_node_acls": "0",
            "cache_dynamic_acls": "0",
            "default_cmdsn_depth": _within(wrong, given, "queue_depth", option, 1, 512),
        },
        parameters=_texts(wrong, given["parameters"], option + ".parameters"),
    )


def _acl(wrong: OptionErrors, given: Options, option: str, luns: Mapping[int, str], defaults: Mapping[str, str]) -> Acl:
    initiator = _name(wrong, given["initiator"], option + ".initiator")
    mapped: dict[int, MappedLun] = {}
    if given["luns"] is None:
        mapped = {number: MappedLun(number) for number in luns if number <= _HIGHEST_MAPPED}
    for at, one in enumerate(given["luns"] or []):
        place = "%s.luns[%d]" % (option, at)
        lun, number = one["lun"], one["lun"] if one["number"] is None else one["number"]
        if lun not in luns:
            wrong.add(place + ".lun", "is %d, and the TPG has no such LUN" % lun, "add it to its luns, or correct the number")
        if not 0 <= number <= _HIGHEST_MAPPED:
            wrong.add(place + ".number", "is %d" % number, "give a number from 0 to %d" % _HIGHEST_MAPPED)
        if number in mapped:
            wrong.add(place + ".number", "is %d again" % number, "give each of the initiator's LUNs a number of its own")
        mapped[number] = MappedLun(lun, bool(one["write_protect"]))
    return Acl(
        initiator=initiator,
        luns=mapped,
        chap=_chap(wrong, given["chap"], option + ".chap", initiator),
        attributes={**defaults, **_texts(wrong, given["attributes"], option + ".attributes", reserved=("authentication",))},
    )


def _chap(wrong: OptionErrors, given: Optional[Options], option: str, initiator: str) -> Chap:
    if not given:
        return Chap()
    for key in ("secret", "mutual_secret"):
        secret = given[key]
        if secret is None and key == "mutual_secret":
            continue
        if len(secret.encode()) not in _SECRET or not secret.isascii() or not secret.isprintable() or " " in secret:
            wrong.add(
                "%s.%s" % (option, key),
                "of %s has %d characters; it must be %d to %d printable ASCII characters without spaces"
                % (initiator, len(secret), _SECRET.start, _SECRET.stop - 1),
                "make a new random one; 16 characters suit every initiator, some take no more",
            )
    if bool(given["mutual_secret"]) != bool(given["mutual_user"]):
        wrong.add(option, "of %s has only one of mutual_user and mutual_secret" % initiator, "give both or none")
    if given["mutual_secret"] and given["mutual_secret"] == given["secret"]:
        wrong.add(option + ".mutual_secret", "of %s equals its secret" % initiator, "make another one (RFC 7143, 12.1.3)")
    return Chap(given["user"] or initiator, given["secret"], given["mutual_user"] or "", given["mutual_secret"] or "")


def _portal(wrong: OptionErrors, given: Options, option: str) -> Optional[Portal]:
    try:
        address = str(ipaddress.ip_address(bare_host(given["address"])))
    except ValueError:
        wrong.add(option + ".address", "is no IP address: %r" % given["address"], "give an address of the machine")
        address = ""
    if not 1 <= given["port"] <= 65535:
        wrong.add(option + ".port", "is %d" % given["port"], "give a TCP port; iSCSI's is 3260")
    return Portal(address, given["port"], bool(given.get("floating"))) if address else None


def _texts(wrong: OptionErrors, given: Optional[Options], option: str, reserved: Sequence[str] = ()) -> dict[str, str]:
    """A dictionary's values as configfs has them. Keys that another option decides are wrong."""
    found = {}
    for key, value in (given or {}).items():
        if key in reserved:
            wrong.add("%s.%s" % (option, key), "is decided by other options", "leave it out")
        if isinstance(value, (dict, list)) or value is None:
            wrong.add("%s.%s" % (option, key), "is %r" % (value,), "give a number or a text")
        found[str(key)] = str(int(value)) if isinstance(value, bool) else str(value)
    return found


def _within(wrong: OptionErrors, given: Options, key: str, option: str, lowest: int, highest: int) -> str:
    if not lowest <= given[key] <= highest:
        wrong.add("%s.%s" % (option, key), "is %d" % given[key], "give %d to %d" % (lowest, highest))
    return str(given[key])


def _by_name(wrong: OptionErrors, items: Iterable[Backstore]) -> dict[str, Backstore]:
    found: dict[str, Backstore] = {}
    for item in items:
        if item.name in found:
            wrong.add("backstores", "has the name %s twice" % item.name, "give each backstore a name of its own")
        found[item.name] = item
    return found


def _own_serials(wrong: OptionErrors, stores: Iterable[Backstore], target: str) -> None:
    seen: dict[str, str] = {}
    for store in stores:
        name = naa_name(store.serial or derived_serial(target, store.name))
        if name in seen:
            wrong.add("backstores", "%s and %s would have the same NAA name" % (seen[name], store.name), "give them different serials")
        seen[name] = store.name


def _own_paths(wrong: OptionErrors, stores: Iterable[Backstore]) -> None:
    seen: dict[str, str] = {}
    for store in stores:
        if store.path in seen:
            wrong.add(
                "backstores",
                "%s and %s have the same path %s" % (seen[store.path], store.name, store.path),
                "give each its own",
            )
        seen[store.path] = store.name


def _own_portals(wrong: OptionErrors, tpgs: Iterable[Tpg]) -> None:
    """One target may have a portal in one TPG only: the login names the target and the portal, not the TPG (RFC 7143, 4.4)."""
    seen: dict[Portal, int] = {}
    for tpg in tpgs:
        for portal in tpg.portals:
            if portal in seen:
                wrong.add("tpgs", "%d and %d have the same portal %s" % (seen[portal], tpg.tag, portal), "leave it in one of them")
            seen[portal] = tpg.tag
