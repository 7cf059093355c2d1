# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a fence agent says about itself: its options and its actions (``-o metadata``, the resource agent API's XML).

An option that an agent does not know it ignores, with a warning that holds the whole line, password and all, also in the system's
log. So nothing is ever sent to an agent that its own metadata does not name.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from ..errors import LibrehaError
from .agent_process import PATHS, run_agent

METADATA_SECONDS = 20.0
_one_asks = threading.Lock()  # all hosts are read at once, mostly with one agent
BOOLEANS = {"1": "1", "yes": "1", "on": "1", "true": "1", "0": "0", "no": "0", "off": "0", "false": "0"}
# Options that this collection gives, or that would make an agent talk about itself (and end with 0, which means "on") or of passwords.
OURS = {
    "action": "the collection gives it",
    "option": "the collection gives it",
    "help": "the agent would answer with its help, which reads like 'on'",
    "version": "the agent would answer with its version, which reads like 'on'",
    "verbose": "the agent would write passwords to its log",
    "verbose_level": "the agent would write passwords to its log",
    "debug": "the agent would write passwords to a file",
    "debug_file": "the agent would write passwords to a file",
    "hexadecimal_kg": "ipmitool takes that key as an argument only, where every process can read it",
}
SECRET = re.compile(r"^(?!.*_script$)(.*passw(or)?d|.*passphrase|.*secret.*|.*token|apikey|community)$")


@dataclass(frozen=True)
class Option:
    name: str
    kind: str = "string"  # boolean, integer, second, select, string
    choices: tuple[str, ...] = ()
    default: str = ""
    required: bool = False
    deprecated: bool = False
    replaces: str = ""  # the older name, which the agent takes as well


@dataclass(frozen=True)
class Metadata:
    agent: str
    path: str
    options: Mapping[str, Option]
    actions: frozenset[str]

    def name_of(self, *names: str) -> str:
        """The first of *names* that the agent has as an option; "" for none."""
        return next((name for name in names if name in self.options), "")

    def lacking(self, needed: Iterable[str]) -> str:
        """Why power cannot be fenced with this agent by the actions *needed*; "" when it can."""
        if not self.name_of("action", "option"):
            return "takes no option action, so it would do whatever its default is"
        if "status" not in self.actions:
            return "cannot read the power (no action status), so it proves nothing"
        if "off" in self.actions and "reboot" not in self.actions:
            # fencing.py, fabric_fencing: such agents cut a host from its storage or network
            return "fences a path to storage or network and not power: it does not prove that VMs stopped"
        missing = [action for action in needed if action not in self.actions]
        return "does not know the action %s, only %s" % (missing[0], ", ".join(sorted(self.actions))) if missing else ""


def read_metadata(agent: str) -> Metadata:
    """Find *agent* (a name, or a path) and ask it. Raises LibrehaError. The answer is kept as long as this process."""
    with _one_asks:
        return _read_metadata(agent)


@functools.cache
def _read_metadata(agent: str) -> Metadata:
    path = _find(agent)
    answer = run_agent(path, {}, METADATA_SECONDS, arguments=("-o", "metadata"))
    try:
        if answer.code != 0:
            raise ValueError("exit code %s, it said: %s" % (answer.code, answer.said))
        root = ElementTree.fromstring(answer.out)
        options = {option.name: option for option in map(_option, root.iter("parameter"))}
        actions = frozenset(item.get("name", "") for item in root.iter("action"))
        if root.tag != "resource-agent" or not options or not actions:
            raise ValueError("no description of options and actions")
    except (ElementTree.ParseError, ValueError) as error:
        raise LibrehaError(
            "%s does not tell what it can do: %s" % (path, error), remedy="name a fence agent of the ClusterLabs fence-agents family"
        ) from None
    return Metadata(agent, path, options, actions)


def check_options(metadata: Metadata, given: Mapping[str, str]) -> dict[str, str]:
    """*given* as the agent wants it. Raises LibrehaError that names a wrong option and what it could have been."""
    checked = {}
    for name, value in given.items():
        if name in OURS:
            raise LibrehaError("bmc.options.%s cannot be used: %s" % (name, OURS[name]), remedy="leave it out")
        option = metadata.options.get(name)
        if option is None:
            near = difflib.get_close_matches(name, metadata.options, n=3, cutoff=0.5)
            raise LibrehaError(
                "%s has no option %s%s" % (metadata.agent, name, "; did you mean %s?" % " or ".join(near) if near else ""),
                remedy="'%s -o metadata' on this machine lists its options" % metadata.agent,
            )
        checked[name] = _value(metadata.agent, option, value)
    old = {option.name: option.replaces for option in metadata.options.values()}
    for option in metadata.options.values():
        wanted = option.required and not option.deprecated and not option.default and option.name not in OURS
        if wanted and option.name not in given and old[option.name] not in given:
            raise LibrehaError(
                "%s needs the option %s" % (metadata.agent, option.name),
                remedy="give it in bmc.options (ip, username and password: in bmc)",
            )
    return checked


def _value(agent: str, option: Option, value: str) -> str:
    place = "bmc.options.%s of %s" % (option.name, agent)
    if any(sign in value for sign in "\n\r\0"):
        raise LibrehaError("%s holds a line break" % place, remedy="give a value of one line")
    if option.kind == "boolean":
        if value.lower() not in BOOLEANS:
            raise LibrehaError("%s is neither true nor false" % place, remedy="give true or false")
        return BOOLEANS[value.lower()]
    if option.choices and value.lower() not in (choice.lower() for choice in option.choices):
        raise LibrehaError("%s is none of %s" % (place, ", ".join(option.choices)), remedy="give one of them")
    if option.kind in ("integer", "second") and not re.fullmatch(r"-?\d+", value):
        raise LibrehaError("%s is no whole number" % place, remedy="give a whole number")
    return value


def _option(parameter: ElementTree.Element) -> Option:
    content = parameter.find("content")
    about: Mapping[str, str] = content.attrib if content is not None else {}
    return Option(
        name=parameter.get("name", ""),
        kind=about.get("type", "string"),
        choices=tuple(choice.get("value", "") for choice in parameter.iter("option")),
        default=about.get("default", ""),
        required=parameter.get("required") == "1",
        deprecated=parameter.get("deprecated") == "1",
        replaces=parameter.get("obsoletes", ""),
    )


def _find(agent: str) -> str:
    if not re.fullmatch(r"(/[^\0]*/)?fence_[A-Za-z0-9_.-]+", agent):
        raise LibrehaError("bmc.agent %r is no name of a fence agent" % agent, remedy="give a name such as fence_ipmilan")
    path = shutil.which(agent, path=os.pathsep.join(PATHS))
    if path is not None:
        return path
    installed = {name for folder in PATHS if os.path.isdir(folder) for name in os.listdir(folder) if name.startswith("fence_")}
    near = difflib.get_close_matches(agent, installed, n=3, cutoff=0.7)
    raise LibrehaError(
        "the fence agent %s is not installed on this machine%s" % (agent, "; there is %s" % ", ".join(near) if near else ""),
        remedy="install the package fence-agents (Debian, Ubuntu) or fence-agents-%s (RHEL family), or correct bmc.agent"
        % os.path.basename(agent).partition("_")[2].replace("_", "-"),
    )
