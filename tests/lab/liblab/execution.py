"""The execution logs: what really happened at each host (tests/lab/README.md). For the referee."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .errors import LabError


@dataclass(frozen=True)
class Ack:
    """A record that the target acknowledged to a host."""

    boottime_ns: int
    host: str
    execution: str
    sequence: int
    digest: bytes


@dataclass
class Execution:
    """One life of a VM at one host, from power-on on."""

    id: str
    host: str
    ticks: list[int] = field(default_factory=list)  # boottime ns at which it certainly executed
    acks: list[Ack] = field(default_factory=list)

    def spans(self, longest_gap_ns: int) -> list[tuple[int, int]]:
        """When it executed: ticks closer than the gap belong together. A frozen process has a hole in between."""
        found: list[tuple[int, int]] = []
        for tick in sorted(self.ticks):
            if found and tick - found[-1][1] <= longest_gap_ns:
                found[-1] = (found[-1][0], tick)
            else:
                found.append((tick, tick))
        return found


def read(logs: dict[str, Path]) -> dict[str, dict[str, Execution]]:
    """By VM name, then by execution id. A host without a log has executed nothing yet. Raises LabError naming file and line."""
    vms: dict[str, dict[str, Execution]] = {}
    for host, path in logs.items():
        try:
            text = path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LabError("The execution log of %s cannot be read: %s" % (host, error)) from error
        whole, _newline, _unfinished = text.rpartition("\n")
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                _read_line(line, host, vms)
            except (ValueError, IndexError) as error:
                raise LabError("%s line %d cannot be understood (%s): %r" % (path, number, error, line)) from error
    return vms


def _read_line(line: str, host: str, vms: dict[str, dict[str, Execution]]) -> None:
    time_text, kind, vm, identity, *argument = line.split(maxsplit=4)
    time_ns = int(time_text)
    identity = identity.replace("-", "").lower()
    executions = vms.setdefault(vm, {})
    execution = executions.get(identity)
    if execution is None:
        execution = executions[identity] = Execution(identity, host)
    elif execution.host != host:
        raise ValueError("execution %s is also in the log of %s" % (identity, execution.host))
    if kind in ("start", "tick"):
        execution.ticks.append(time_ns)
    elif kind == "ack":
        sequence, _colon, digest = argument[0].partition(":")
        execution.acks.append(Ack(time_ns, host, identity, int(sequence), bytes.fromhex(digest)))
    elif kind != "stop":
        raise ValueError("unknown kind %s" % kind)
