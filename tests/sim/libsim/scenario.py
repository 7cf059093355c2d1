"""Reading a scenario file, and refusing one that breaks the format of docs/scenario-format.md.

Every mistake is named by its place; a key that is not known is an error that names the key. YAML reads a bare ``on`` as
true, a host called ``101`` as a number: both are taken as what the author meant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

import yaml
from ansible_collections.libreha.vmware.plugins.module_utils.decide.obstacles import Obstacle, ObstacleKind
from ansible_collections.libreha.vmware.plugins.module_utils.decide.policy import Policy
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.policy.reader import read_options, read_policy

from .names import SERVER, initiator, vm_id

DESIRED = ("started", "stopped", "ignored", "disabled")
PRIORITIES = ("highest", "high", "medium", "low", "lowest")


class BadScenario(Exception):
    """What is wrong with the file, one line for each mistake."""


@dataclass(frozen=True)
class HostSpec:
    name: str
    memory: Optional[int] = None  # MiB; None: unlimited
    cpu: Optional[int] = None  # cores; None: unlimited
    up: bool = True
    bmc: bool = True
    live_migration: bool = True
    networks: Optional[tuple[str, ...]] = None
    capabilities: tuple[str, ...] = ()
    spare: bool = False


@dataclass(frozen=True)
class VmSpec:
    name: str
    host: str
    desired: str = "started"
    memory: int = 0  # MiB
    cpu: int = 0  # cores
    priority: str = "medium"
    networks: Optional[tuple[str, ...]] = None
    obstacles: tuple[Obstacle, ...] = ()
    servers: tuple[str, ...] = (SERVER,)  # that hold files of it, the one with its .vmx file first

    @property
    def id(self) -> str:
        return vm_id(self.name, self.servers[0])


@dataclass(frozen=True)
class Happening:
    """One entry of the timeline; only the fields that its ``do`` has are set."""

    at: float
    do: str
    host: str = ""
    to: str = ""
    vm: str = ""
    command: str = ""
    fault: str = ""
    times: int = 1
    by: float = 0.0
    server: str = ""
    subject: str = ""
    who: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Scenario:
    name: str
    policy: Policy
    hosts: Mapping[str, HostSpec]
    vms: Mapping[str, VmSpec]
    timeline: tuple[Happening, ...]  # sorted by ``at``, stable
    until: float
    servers: tuple[str, ...] = (SERVER,)  # the first one is also the arbiter


SWITCH = ("on", "off")
#: ``do`` -> (keys that must be there, keys that may be, allowed values of ``to``)
DOINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "power": (("host", "to"), (), SWITCH),
    "network": (("host", "to"), (), SWITCH),
    "storage": (("host", "to"), ("server",), SWITCH),
    "api": (("host", "to"), (), SWITCH),
    "hang": (("host", "to"), (), SWITCH),
    "bmc": (("host", "to"), (), SWITCH),
    "shutdown": (("host",), (), ()),
    "reboot": (("host",), (), ()),
    "maintenance": (("host", "to"), (), SWITCH),
    "rejoin": (("host",), (), ()),
    "vm": (("vm", "command"), ("host",), ()),
    "vm_fault": (("vm", "fault"), ("host", "times", "by"), ()),
    "target": (("to",), ("server",), ("restart", "off", "on")),
    "fence": (("host", "to"), ("server",), ("fails", "works")),
    "monitor": (("to",), (), ("killed", "isolated", "restarted", "frozen", "thawed")),
    "clock": (("by",), (), ()),
    # Beyond the frozen keys (docs/scenario-format.md):
    "sensor": (("host", "to"), (), ("red", "green")),  # hardware health
    "name_service": (("to",), ("host",), SWITCH),  # the observer's; with host only the name of that one
    "operator": (("command",), ("subject", "who", "reason"), ()),  # what a person says to the cluster
    "stale": (("by",), (), ()),  # the next look is one from that many seconds ago
    "ssh": (("server", "to"), (), SWITCH),  # whether the monitor reaches a storage server that is not its own; the target goes on
    "disk": (("vm", "server"), (), ()),  # somebody gives it another disk there
    "looks": (("by",), (), ()),  # each look takes that many seconds more from now on: a loaded arbiter
    "worker": (("by",), (), ()),  # a process that acts, or the next one to begin, dies that many seconds later
    "connection": (("host", "to"), (), ("fails", "strange", "works")),  # of acts, while looks are answered
    "all_power": (("to",), (), SWITCH),  # off: everything at once; on: storage servers and arbiter boot, hosts by entries of their own
    "maintenance_mode": (("host", "to"), (), SWITCH),  # ESXi's own, by somebody at the host
    "old_memory": (("by",), (), ()),  # the state database is put back to what it was that many seconds ago
}
VM_COMMANDS = ("migrate", "start", "stop", "ignore", "manage")
VM_FAULTS = ("crash", "start_fails", "guest_hangs", "slow_shutdown")
OPERATOR_COMMANDS = (
    *("disarm", "arm", "approve", "release_brake", "rebalance", "confirmed_off", "failback", "remove_host"),
    *("shutdown", "cancel_shutdown"),
)


def read_scenario(path: Path) -> Scenario:
    """Raises BadScenario."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadScenario("cannot be read: %s" % error) from None
    try:
        raw = json.loads(text, object_pairs_hook=_unique_pairs) if path.suffix == ".json" else yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise BadScenario("is not valid %s: %s" % ("JSON" if path.suffix == ".json" else "YAML", " ".join(str(error).split()))) from None
    return build_scenario(raw, path.stem)


def build_scenario(raw: Any, default_name: str = "scenario") -> Scenario:
    """Check the structure and read it. Raises BadScenario with all mistakes."""
    return _Reader().read(raw, default_name)


class _Loader(yaml.SafeLoader):
    """As safe_load, but a key that is given twice is an error and not silently the later one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, _value in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float, bool)):
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, "key %s is given twice" % key, key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _value in pairs]
        raise ValueError("key %s is given twice" % next(name for name in names if names.count(name) > 1))
    return found


@dataclass
class _Reader:
    errors: list[str] = field(default_factory=list)

    def read(self, raw: Any, default_name: str) -> Scenario:
        top = self._mapping(raw, "the file", ("name", "policy", "hosts", "storage", "vms", "rules", "timeline", "until"))
        servers = tuple(self._server(name, entry) for name, entry in self._named(top.get("storage"), "storage").items()) or (SERVER,)
        hosts = {name: self._host(name, entry) for name, entry in self._named(top.get("hosts"), "hosts", "hosts" not in top).items()}
        vms = {name: self._vm(name, entry, hosts, servers) for name, entry in self._named(top.get("vms"), "vms").items()}
        rules = [self._rule(rule, "rules[%d]" % index, hosts, vms) for index, rule in enumerate(self._list(top.get("rules"), "rules"))]
        timeline = [
            self._happening(entry, "timeline[%d]" % index, hosts, vms, servers)
            for index, entry in enumerate(self._list(top.get("timeline"), "timeline"))
        ]
        until = self._number(top.get("until"), "until", 0.0)
        if until == 0:
            self.errors.append("until: a time after 0 is needed")
        name = self._text(top.get("name", default_name), "name")
        given_policy = self._policy(top.get("policy"), hosts, vms, servers)
        if self.errors:
            raise BadScenario("\n".join(self.errors))
        try:
            policy = read_policy(given_policy)
        except LibrehaError as error:
            raise BadScenario("\n".join((error.details or {}).get("errors") or [str(error)])) from None
        # Rules that contradict each other are an operator's mistake, but a possible one: what becomes of it is worth seeing.
        policy = replace(policy, rules=(*policy.rules, *read_options(Policy, {"rules": rules}, "").rules))
        found = sorted((entry for entry in timeline if entry is not None), key=lambda entry: entry.at)
        return Scenario(name, policy, hosts, vms, tuple(found), until, servers)

    def _host(self, name: str, raw: Any) -> HostSpec:
        place = "hosts.%s" % name
        entry = self._mapping(raw or {}, place, ("memory", "cpu", "up", "bmc", "live_migration", "networks", "capabilities", "spare"))
        return HostSpec(
            name,
            self._whole(entry["memory"], place + ".memory") if entry.get("memory") is not None else None,
            self._whole(entry["cpu"], place + ".cpu") if entry.get("cpu") is not None else None,
            self._flag(entry.get("up", True), place + ".up"),
            self._flag(entry.get("bmc", True), place + ".bmc"),
            self._flag(entry.get("live_migration", True), place + ".live_migration"),
            self._names(entry.get("networks"), place + ".networks"),
            self._names(entry.get("capabilities"), place + ".capabilities") or (),
            self._flag(entry.get("spare", False), place + ".spare"),
        )

    def _server(self, name: str, raw: Any) -> str:
        self._mapping(raw or {}, "storage.%s" % name, ())
        return name

    def _vm(self, name: str, raw: Any, hosts: Mapping[str, HostSpec], servers: tuple[str, ...]) -> VmSpec:
        place = "vms.%s" % name
        entry = self._mapping(raw or {}, place, ("host", "desired", "memory", "cpu", "priority", "networks", "obstacles", "storage"))
        lies = [self._one_of(item, servers, place + ".storage") for item in self._names(entry.get("storage"), place + ".storage") or ()]
        return VmSpec(
            name,
            self._one_of(self._text(entry.get("host", ""), place + ".host"), hosts, place + ".host"),
            self._one_of(entry.get("desired", "started"), DESIRED, place + ".desired"),
            self._whole(entry.get("memory") or 0, place + ".memory"),
            self._whole(entry.get("cpu") or 0, place + ".cpu"),
            self._one_of(entry.get("priority", "medium"), PRIORITIES, place + ".priority"),
            self._names(entry.get("networks"), place + ".networks"),
            tuple(
                self._obstacle(item, "%s.obstacles[%d]" % (place, index))
                for index, item in enumerate(self._list(entry.get("obstacles"), place + ".obstacles"))
            ),
            tuple(dict.fromkeys(lies)) or servers[:1],
        )

    def _obstacle(self, raw: Any, place: str) -> Obstacle:
        entry = self._mapping(raw, place, ("kind", "device", "needs"))
        known = [kind.value for kind in ObstacleKind]
        kind = self._one_of(entry.get("kind"), known, place + ".kind")
        needs = self._text(entry.get("needs", ""), place + ".needs")
        return Obstacle(ObstacleKind(kind if kind in known else known[0]), self._text(entry.get("device", kind), place + ".device"), needs)

    def _rule(self, raw: Any, place: str, hosts: Mapping[str, HostSpec], vms: Mapping[str, VmSpec]) -> dict[str, Any]:
        entry = self._mapping(raw, place, ("type", "name", "vms", "hosts", "together", "required"))
        kind = self._one_of(entry.get("type"), ("host_affinity", "vm_affinity"), place + ".type")
        rule: dict[str, Any] = {"type": kind, "required": self._flag(entry.get("required", True), place + ".required")}
        if "name" in entry:
            rule["name"] = self._text(entry["name"], place + ".name")
        members = [self._text(name, place + ".vms") for name in self._list(entry.get("vms"), place + ".vms")]
        if not members:
            self.errors.append("%s.vms: at least one VM is needed" % place)
        rule["vms"] = [self._one_of(name, vms, place + ".vms") for name in dict.fromkeys(members)]
        if kind == "host_affinity":
            preferred = entry.get("hosts")
            if isinstance(preferred, list):
                preferred = dict.fromkeys(preferred, 0)
            rule["hosts"] = {
                self._one_of(name, hosts, place + ".hosts"): self._whole(0 if value is None else value, "%s.hosts.%s" % (place, name))
                for name, value in self._named(preferred, place + ".hosts", True).items()
            }
            if "together" in entry:
                self.errors.append("%s.together: unknown key in a host_affinity rule" % place)
        else:
            rule["together"] = self._flag(entry.get("together"), place + ".together")
            if "hosts" in entry:
                self.errors.append("%s.hosts: unknown key in a vm_affinity rule" % place)
        return rule

    def _happening(
        self, raw: Any, place: str, hosts: Mapping[str, HostSpec], vms: Mapping[str, VmSpec], servers: tuple[str, ...]
    ) -> Optional[Happening]:
        if not isinstance(raw, Mapping):
            self.errors.append("%s: %r is not a mapping" % (place, raw))
            return None
        do = raw.get("do")
        if not isinstance(do, str) or do not in DOINGS:
            self.errors.append("%s.do: %r is none of %s" % (place, do, ", ".join(DOINGS)))
            return None
        needed, optional, values = DOINGS[do]
        entry = self._mapping(raw, place, ("at", "do", *needed, *optional))
        for key in ("at", *needed):
            if entry.get(key) is None:
                self.errors.append("%s: key %s is missing for do: %s" % (place, key, do))
        found: dict[str, Any] = {"at": self._number(entry.get("at", 0.0), place + ".at", 0.0), "do": do}
        readers: dict[str, Callable[[Any, str], Any]] = {
            "host": lambda value, where: self._one_of(self._text(value, where), hosts, where),
            "server": lambda value, where: self._one_of(self._text(value, where), servers[1:] if do == "ssh" else servers, where),
            "vm": lambda value, where: self._one_of(self._text(value, where), vms, where),
            "to": lambda value, where: self._one_of(_switch(value), values, where),
            "command": lambda value, where: self._one_of(value, VM_COMMANDS if do == "vm" else OPERATOR_COMMANDS, where),
            "fault": lambda value, where: self._one_of(value, VM_FAULTS, where),
            "times": self._whole,
            "by": self._number,
            "subject": self._text,
            "who": self._text,
            "reason": self._text,
        }
        for key in (*needed, *optional):
            if entry.get(key) is not None:
                found[key] = readers[key](entry[key], "%s.%s" % (place, key))
        self._together(do, found, place)
        return Happening(**found)

    def _together(self, do: str, found: Mapping[str, Any], place: str) -> None:
        """Keys that one command or fault has and the others have not."""
        if do == "vm" and found.get("command") == "migrate" and "host" not in found:
            self.errors.append("%s: key host is missing for command: migrate" % place)
        if do == "vm" and found.get("command") != "migrate" and "host" in found:
            self.errors.append("%s.host: unknown key for command: %s" % (place, found.get("command")))
        if do == "vm_fault" and found.get("fault") != "start_fails":
            for key in ("host", "times"):
                if key in found:
                    self.errors.append("%s.%s: unknown key for fault: %s" % (place, key, found.get("fault")))
        needs = {"start_fails": "host", "slow_shutdown": "by"}.get(found.get("fault", ""))
        if do == "vm_fault" and needs and needs not in found:
            self.errors.append("%s: key %s is missing for fault: %s" % (place, needs, found["fault"]))
        if do == "vm_fault" and "by" in found and found.get("fault") != "slow_shutdown":
            self.errors.append("%s.by: unknown key for fault: %s" % (place, found.get("fault")))

    def _policy(self, raw: Any, hosts: Mapping[str, HostSpec], vms: Mapping[str, VmSpec], servers: tuple[str, ...]) -> dict[str, Any]:
        """The scenario's policy, put together with its hosts and VMs. ``act`` is the mode here."""
        if raw is not None and not isinstance(raw, Mapping):
            self.errors.append("policy: %r is not a mapping" % (raw,))
            return {}
        policy: dict[str, Any] = {"mode": "act", **(raw or {})}
        given_hosts, given_vms = policy.get("hosts") or {}, policy.get("vms") or {}
        for key, given in (("hosts", given_hosts), ("vms", given_vms)):
            if isinstance(given, Mapping) and not all(entry is None or isinstance(entry, Mapping) for entry in given.values()):
                self.errors.append("policy.%s: each entry is a mapping of options" % key)
                return {}
        if isinstance(given_hosts, Mapping):
            own = {name: {"initiator": initiator(name), "has_bmc": spec.bmc, "spare": spec.spare} for name, spec in hosts.items()}
            policy["hosts"] = {**own, **{name: {**own.get(name, {}), **(entry or {})} for name, entry in given_hosts.items()}}
        policy.setdefault("storage", {server: {} for server in servers})
        if isinstance(given_vms, Mapping):
            priorities = {name: {"priority": spec.priority} for name, spec in vms.items()}
            by_id = {spec.id: name for name, spec in vms.items()}
            for name, entry in given_vms.items():
                priorities.setdefault(by_id.get(str(name), str(name)), {}).update(entry or {})
            # "disabled" is in decide a priority; in a scenario it is what is desired, and stays desired.
            policy["vms"] = priorities
        return policy

    # Values

    def _mapping(self, raw: Any, place: str, known: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(raw, Mapping):
            self.errors.append("%s: %r is not a mapping" % (place, raw))
            return {}
        for key in raw:
            if key not in known:
                self.errors.append("%s: unknown key %s; the keys there are %s" % (place, _shown(key), ", ".join(known)))
        return raw

    def _named(self, raw: Any, place: str, needed: bool = False) -> dict[str, Any]:
        """A mapping by names, which may have been read as numbers."""
        if raw is None and not needed:
            return {}
        if not isinstance(raw, Mapping):
            self.errors.append("%s: %s" % (place, "key %s is missing" % place if raw is None else "%r is not a mapping" % (raw,)))
            return {}
        found: dict[str, Any] = {}
        for key, value in raw.items():
            found[self._text(key, place)] = value
        if needed and not found:
            self.errors.append("%s: at least one host is needed" % place)
        return found

    def _list(self, raw: Any, place: str) -> list[Any]:
        if raw is None:
            return []
        if not isinstance(raw, list):
            self.errors.append("%s: %r is not a list" % (place, raw))
            return []
        return raw

    def _names(self, raw: Any, place: str) -> Optional[tuple[str, ...]]:
        return None if raw is None else tuple(self._text(name, place) for name in self._list(raw, place))

    def _text(self, raw: Any, place: str) -> str:
        if isinstance(raw, bool) or not isinstance(raw, (str, int, float)):
            self.errors.append("%s: %s is not a text" % (place, _shown(raw)))
            return "?"
        return str(raw)

    def _whole(self, raw: Any, place: str) -> int:
        number = self._number(raw, place, 0.0)
        if number != int(number):
            self.errors.append("%s: %r is not a whole number" % (place, raw))
        return int(number)

    def _number(self, raw: Any, place: str, least: float = -math.inf) -> float:
        if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not math.isfinite(raw):
            self.errors.append("%s: %s" % (place, "key %s is missing" % place if raw is None else "%r is not a number" % (raw,)))
            return max(least, 0.0)
        if raw < least:
            self.errors.append("%s: %r is less than %g" % (place, raw, least))
        return float(raw)

    def _flag(self, raw: Any, place: str) -> bool:
        if isinstance(raw, bool):
            return raw
        self.errors.append("%s: %s is neither true nor false" % (place, _shown(raw)))
        return True

    def _one_of(self, raw: Any, known: Any, place: str) -> str:
        if isinstance(raw, str) and raw in known:
            return raw
        self.errors.append("%s: %s is none of %s" % (place, _shown(raw), ", ".join(known) or "none at all"))
        return "?"


def _switch(raw: Any) -> Any:
    return ("off", "on")[raw] if isinstance(raw, bool) else raw


def _shown(raw: Any) -> str:
    return raw if isinstance(raw, str) else repr(raw)
