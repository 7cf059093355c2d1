# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``libreha``: the operator's command on the arbiter.

It asks the resident monitor over its socket and reads the state database; it changes nothing but what ``libreha command`` writes there.
What each subcommand shows is made elsewhere (``status_text``, ``explain``, ``record/journal_text``); here are the options, the exit codes
and the terminal.

Exit codes: 0 done; 1 it failed or was refused, and standard error says why; 2 wrong options. ``status`` ends with 3 when no resident
monitor answered and the record is shown, as ``systemctl status`` does for what does not run. ``check`` has those of monitoring
plugins: 0 OK, 1 warning, 2 critical, 3 unknown, wrong options included.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from typing import Any, NoReturn, Optional, TextIO

from .. import clock
from ..decide.commands import CommandKind
from ..decide.json_form import to_dict
from ..errors import LibrehaError, unexpected
from ..record.asking import give_and_wait
from ..record.commands import VALID_FOR, read_command
from ..record.database import StateDatabase
from ..record.journal_text import journal_lines
from .client import Places, read_status, with_near_misses
from .client import read_recording as ask_recording
from .explain import Recorded, explain, subject_of
from .health import OLDEST, Level, health_of, plugin_line, unknown_line
from .looks import read as read_recording
from .redaction import redacted
from .replay_text import look_lines, replay_form, replay_lines
from .status import ABSENT, Status
from .status_text import BY_SEVERITY, Paint, coloured, plain, status_lines

DEFAULT_CONFIG = "/etc/libreha/monitor.json"
DONE, FAILED, USAGE, NOT_RUNNING, INTERRUPTED = 0, 1, 2, 3, 130
FOLLOW = 0.5  # s between two looks at the journal
NEWEST = 50  # entries of the journal
WAIT = 30.0  # s for the outcome of a command
ANSWERED = "what the monitor answered"
CLEAR = "\x1b[H\x1b[2J\x1b[3J"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Terminal:
    """Where output goes: colours and clearing only where a person reads it."""

    def __init__(self, out: TextIO, colour: str) -> None:
        self._out = out
        self.is_terminal = out.isatty()
        on = colour == "always" or (colour == "auto" and self.is_terminal and not os.environ.get("NO_COLOR"))
        self.paint: Paint = coloured if on else plain

    def write(self, *lines: str, clear: bool = False) -> None:
        head = CLEAR if clear and self.is_terminal else ""
        self._out.write(head + "".join(line + "\n" for line in lines))
        self._out.flush()

    def write_json(self, value: Any) -> None:
        self.write(json.dumps(value, ensure_ascii=False))


class Parser(argparse.ArgumentParser):
    """One that names the help of the subcommand, and ends with the exit code that *usage_code* says."""

    usage_code = USAGE

    def error(self, message: str) -> NoReturn:
        self.exit(self.usage_code, "%s: %s\nSee %s --help\n" % (self.prog, message, self.prog))


def main(argv: Optional[Sequence[str]] = None, out: Optional[TextIO] = None, err: Optional[TextIO] = None) -> int:
    """Run one command; returns the exit code. Nothing leaves it as a traceback."""
    out, err = out or sys.stdout, err or sys.stderr
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        options = parser().parse_args(words)
    except SystemExit as ended:
        wrong = ended.code not in (0, None)
        return int(Level.UNKNOWN) if wrong and words[:1] == ["check"] else int(ended.code or 0)
    check = options.run is run_check
    try:
        return int(options.run(options, places_of(options), Terminal(out, options.color)))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # "| head" has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except LibrehaError as error:
        said = str(error)
    except Exception as error:  # of an operator's tool: a sentence, and the place for whoever mends it
        said = "%s. Remedy: this is a defect; report it with this line" % unexpected(error)
    if check:
        out.write(unknown_line(said) + "\n")
        return int(Level.UNKNOWN)
    err.write("libreha %s: %s\n" % (options.command, said))
    return FAILED


# Options


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="libreha", description=TOP, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    _status_options(_part(parts, "status", run_status, "how the cluster stands: hosts, VMs at risk, alarms, what is under way"))
    _journal_options(_part(parts, "journal", run_journal, "what happened and why, an entry a line and below it the reasons"))
    _explain_options(_part(parts, "explain", run_explain, "why a VM is where it is, or a host what it is, and why nothing was done"))
    _replay_options(_part(parts, "replay", run_replay, "decide again on what the monitor saw, look by look, and see why"))
    _incident_options(_part(parts, "incident", run_incident, "what the monitor saw and decided, without names, as one file to give away"))
    _command_options(_part(parts, "command", run_command, "tell the cluster what you want: stop, migrate, disarm, approve and so on"))
    _check_options(_part(parts, "check", run_check, "one line and an exit code, for Icinga, Nagios, Checkmk and others"))
    return top


TOP = "The high availability of this cluster: how it stands, what happened, why, and what you want."
EPILOG = """exit codes:
  0  done
  1  failed or refused; standard error says why, and what to do
  2  wrong options
  3  status: the resident monitor does not answer, and the record is shown
  check has those of monitoring plugins: 0 OK, 1 warning, 2 critical, 3 unknown

Run it on the arbiter, as root. docs/monitor.md of the collection libreha.vmware has more.
"""


def _part(parts: Any, name: str, run: Callable[..., int], what: str) -> argparse.ArgumentParser:
    part: argparse.ArgumentParser = parts.add_parser(name, help=what, description=what[0].upper() + what[1:] + ".")
    part.set_defaults(run=run)
    part.add_argument("--config", metavar="FILE", default=DEFAULT_CONFIG, help="the monitor's configuration (%(default)s)")
    part.add_argument("--socket", metavar="PATH", help="the monitor's socket, in place of the configuration's")
    part.add_argument("--state-url", metavar="URL", help="the state database, in place of the configuration's")
    part.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="colours (auto: on a terminal)")
    return part


def _status_options(part: argparse.ArgumentParser) -> None:
    part.add_argument("--json", action="store_true", help="for programs: one JSON object a line")
    part.add_argument(
        "--watch", metavar="SECONDS", type=_positive, nargs="?", const=1.0, help="show it again every SECONDS (1), until Ctrl-C"
    )


def _journal_options(part: argparse.ArgumentParser) -> None:
    part.add_argument("-n", "--lines", metavar="N", type=_count, help="the last N entries (%d; with --since all)" % NEWEST)
    part.add_argument("-f", "--follow", action="store_true", help="go on as entries come, until Ctrl-C")
    since = "from then on: 15m, 2h, 3d ago, or a time such as 2026-11-29T06:00 (UTC), or after the entry with this number"
    part.add_argument("--since", metavar="WHEN", type=_since, help=since)
    part.add_argument("--about", metavar="NAME", help="only entries about this host or VM")
    part.add_argument(
        "--kind", metavar="KIND", action="append", default=[], help="only this kind: verdict, alarm, fence, step, person, ..."
    )
    part.add_argument("--json", action="store_true", help="for programs: one JSON object an entry")


def _explain_options(part: argparse.ArgumentParser) -> None:
    part.add_argument("subject", metavar="VM|HOST", help="a VM by its name or id, or a host")
    part.add_argument("-n", "--lines", metavar="N", type=_count, default=10, help="the last N journal entries about it (%(default)s)")
    part.add_argument("--json", action="store_true", help="for programs: one JSON object")


def _replay_options(part: argparse.ArgumentParser) -> None:
    source = "a recording: of libreha incident, or one of those that the monitor keeps of each incident (none: the monitor's newest looks)"
    part.add_argument("file", metavar="FILE", nargs="?", help=source)
    part.add_argument("--look", metavar="N", type=_count, help="all that was decided on the Nth look")
    part.add_argument("--json", action="store_true", help="for programs: one JSON object a look")


def _incident_options(part: argparse.ArgumentParser) -> None:
    part.add_argument("--out", metavar="FILE", required=True, help="where to write it; it must not be there yet")
    part.add_argument("--of", metavar="FILE", help="of this recording (none: of the monitor's newest looks)")
    names = "keep the names of hosts, VMs, files, networks and people; without it they are replaced, and the result is replayed first"
    part.add_argument("--with-names", action="store_true", help=names)


def _command_options(part: argparse.ArgumentParser) -> None:
    part.add_argument("kind", metavar="KIND", choices=[kind.value for kind in CommandKind], help="one of: %(choices)s")
    part.add_argument("subject", metavar="SUBJECT", nargs="?", default="", help="the VM or host that it is about; none for the cluster")
    part.add_argument("--to", metavar="HOST", default="", help="where to, for migrate")
    part.add_argument("--by", metavar="NAME", help="who wants it, for the journal (the user who called sudo)")
    part.add_argument("--reason", metavar="TEXT", required=True, help="why, for the journal")
    holds = "for how long, with disarm, maintenance_on, ignore and shutdown: 90m, 8h, 3d (what the policy's switch_off says)"
    part.add_argument("--for", dest="holds", metavar="TIME", type=_duration, default=0.0, help=holds)
    wait = "how long to wait until the monitor took it up (%(default)g); one that it did not take up is withdrawn. 0: do not wait"
    part.add_argument("--wait", metavar="SECONDS", type=_seconds, default=WAIT, help=wait)
    part.add_argument("--json", action="store_true", help="for programs: the command and what became of it")


def _check_options(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "--max-age", metavar="SECONDS", type=_positive, default=OLDEST, help="a last look older than this is critical (%(default)g)"
    )
    part.add_argument("--scheduled", action="store_true", help="the playbook monitor runs by a schedule, and no resident monitor")


def places_of(options: argparse.Namespace) -> Places:
    """Where to ask: options, environment, configuration, defaults. A configuration that this user may not read costs nothing: the socket
    has permissions of its own. Raises LibrehaError for one that is damaged, unless the options name both places."""
    given = {"socket": options.socket, "state_url": options.state_url or os.environ.get("LIBREHA_STATE_URL")}
    found = {name: value for name, value in given.items() if value}
    if len(found) < len(given):
        found = {**_configured(options.config), **found}
    return Places(**found)


def _configured(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8") as source:
            content = json.load(source)
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
    except (FileNotFoundError, PermissionError):
        return {}
    except (OSError, ValueError) as error:
        raise LibrehaError(
            "the configuration %s cannot be read: %s" % (path, error),
            remedy="run the role ha_monitor again, or give --socket and --state-url",
        ) from None
    return {name: str(content[name]) for name in ("socket", "state_url") if content.get(name)}


# The commands


def run_status(options: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    while True:
        status = with_near_misses(read_status(places), places)
        if options.json:
            terminal.write_json(to_dict(status))
        else:
            terminal.write(*status_lines(status, terminal.paint), clear=options.watch is not None)
        if options.watch is None:
            return NOT_RUNNING if status.service.state == ABSENT else DONE
        clock.sleep(options.watch)


def run_journal(options: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    since, wall = options.since or (None, "")
    limit = NEWEST if options.lines is None and options.since is None else options.lines
    with StateDatabase.open(places.state_url, create=False) as database:
        subject = _about(database, options.about) if options.about else ""
        # Read before the entries: what is journaled in between is shown by the one or by the other, and nothing is lost.
        seen = max((entry["seq"] for entry in database.read_journal(limit=1)), default=0)
        entries = database.read_journal(since, options.kind, subject, limit if since is None else None, wall)
        entries = entries[len(entries) - limit :] if limit is not None and limit < len(entries) else entries
        while True:
            _write_entries(entries, options.json, terminal)
            if not options.follow:
                return DONE
            seen = max([seen, *(entry["seq"] for entry in entries)])
            clock.sleep(FOLLOW)
            entries = database.read_journal(seen, options.kind, subject)


def _about(database: StateDatabase, name: str) -> str:
    """The subject by which entries about *name* are journaled: a VM's id for its name; anything else as it is."""
    found = [vm["vm_id"] for vm in database.vms() if name in (vm["vm_id"], vm["name"])]
    return str(found[0]) if len(found) == 1 else name


def _write_entries(entries: Sequence[dict[str, Any]], as_json: bool, terminal: Terminal) -> None:
    for entry in entries:
        if as_json:
            terminal.write_json(entry)
            continue
        first, *reasons = journal_lines([entry])
        colour = BY_SEVERITY.get(str(entry["data"].get("severity")), "") if entry["kind"] == "alarm" else ""
        terminal.write(terminal.paint(first, colour) if colour else first, *reasons)


def run_explain(options: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    with StateDatabase.open(places.state_url, create=False) as database:
        memory = database.memory()
        hosts = database.hosts()
        kind, subject = subject_of(memory, options.subject, [row["name"] for row in hosts])
        recorded = Recorded(
            memory=memory,
            hosts=hosts,
            alarms=database.alarms(),
            transactions=database.open_transactions(),
            closed=database.closed_transactions_of([subject]) if kind == "vm" else (),
            journal=database.read_journal(subject=subject, limit=options.lines),
            now=clock.now(),
        )
    found = explain(kind, subject, recorded)
    if options.json:
        terminal.write_json(asdict(found))
    else:
        terminal.write(*found.lines())
    return DONE


def run_replay(options: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    found = read_recording(_recording(options.file, places), options.file or ANSWERED)
    if options.look is not None and not 1 <= options.look <= len(found):
        raise LibrehaError("there is no look %d" % options.look, remedy="give one from 1 to %d" % len(found))
    chosen = range(len(found)) if options.look is None else [options.look - 1]
    if options.json:
        for index in chosen:
            terminal.write_json(replay_form(index + 1, found[index]))
    elif options.look is not None:
        terminal.write(*look_lines(options.look, found[options.look - 1]))
    else:
        terminal.write(*replay_lines(found))
    return FAILED if any(found[index].differs for index in chosen) else DONE


def run_incident(options: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    content = _recording(options.of, places)
    looks = read_recording(content, options.of or ANSWERED)
    if not looks:
        raise LibrehaError("the monitor has not looked yet", remedy="wait for its first look: libreha status")
    if not options.with_names:
        content = redacted(looks)
    try:
        with open(os.open(options.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(content)
    except OSError as error:
        raise LibrehaError("%s cannot be written: %s" % (options.out, error.strerror), remedy="name a new file with --out") from None
    names = "with all names" if options.with_names else "without names; it replays as the original does"
    terminal.write("%s: %d looks, %s" % (options.out, len(looks), names))
    return DONE


def _recording(file: Optional[str], places: Places) -> bytes:
    if file is None:
        return ask_recording(places)
    try:
        with open(file, "rb") as source:
            return source.read()
    except OSError as error:
        kept = "the monitor keeps recordings of incidents in /var/lib/libreha/incidents"
        raise LibrehaError("%s cannot be read: %s" % (file, error.strerror), remedy=kept) from None


def run_command(options: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    by = (options.by or _person()).strip()
    if not by or not options.reason.strip():
        raise LibrehaError("a command needs a named person and a reason", remedy="give --by NAME and --reason TEXT")
    given = {name: getattr(options, name) for name in ("kind", "subject", "to", "holds")}
    given = {**given, "by": by, "reason": options.reason.strip()}
    with StateDatabase.open(places.state_url, create=False) as database:
        row = give_and_wait(database, read_command(given), options.wait, VALID_FOR)
    if options.json:
        terminal.write_json(row)
    else:
        later = "given; the next look of the monitor takes it up: libreha journal --follow"
        terminal.write("command %d %s: %s" % (row["number"], row["state"], row["outcome"] or later))
    return DONE


def _person() -> str:
    """The user who called sudo, or who is logged in; root is nobody by name."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = ""
    return "" if name == "root" else name


def run_check(options: argparse.Namespace, places: Places, terminal: Terminal) -> int:
    status: Status = read_status(places)
    health = health_of(status, options.max_age, options.scheduled)
    terminal.write(plugin_line(status, health, options.max_age))
    return int(health.level)


# Values


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("%s is no number of seconds" % text)
    return value


def _duration(text: str) -> float:
    """Seconds, from "90m", "8h" or "3d"."""
    seconds = _span(text)
    if not seconds:
        raise argparse.ArgumentTypeError("%s is no time; give 90m, 8h or 3d" % text)
    return seconds


def _span(text: str) -> Optional[float]:
    """Seconds, from "90m"; None for what is no span of time."""
    found = re.fullmatch(r"(\d+)\s*([smhd])", text)
    return float(int(found[1]) * UNITS[found[2]]) if found else None


def _positive(text: str) -> float:
    value = _seconds(text)
    if value == 0:
        raise argparse.ArgumentTypeError("give more than 0 seconds")
    return value


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError("%s is no count" % text)
    return int(text)


def _since(text: str) -> tuple[Optional[int], str]:
    """The number of an entry, or a wall time as the journal has it: (1200, "") or (None, "2026-11-29T06:00:00.000+00:00")."""
    if text.isdigit():
        return int(text), ""
    ago = _span(text)
    if ago is not None:
        moment = datetime.now(timezone.utc) - timedelta(seconds=ago)
    else:
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            raise argparse.ArgumentTypeError("%s is no time; give 15m, 2h, 2026-11-29T06:00, or an entry's number" % text) from None
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
    return None, moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")


if __name__ == "__main__":
    raise SystemExit(main())
