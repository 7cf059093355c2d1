# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Does the address answer on any layer? All layers are asked at once, and the first answer wins."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial

from .. import clock
from ..addresses import bare_host
from ..decide.answers import Evidence
from ..decide.observations import IsolationProbe
from ..parallel import in_parallel
from .layers import Heard, Probe, arp, icmp, tcp

ISOLATION_PORT = 443  # any port does: a refusal is an answer too


def ping(address: str, port: int, timeout: float) -> tuple[Evidence, str]:
    """Evidence and reason. ``ok``: something answered. ``failed``: every layer that could be tried stayed silent for
    *timeout* seconds. ``unknown``: no layer could really be tried (name not resolved, no route from this machine), or none
    that was came back: then this machine itself is late."""
    try:
        family, literal = resolve(address, port)
    except (OSError, ValueError) as error:
        return Evidence.UNKNOWN, "%s cannot be resolved: %s" % (address, error)
    layers: list[Callable[[], Probe]] = [
        lambda: tcp(literal, family, port, timeout),
        lambda: icmp(literal, family, timeout),
        lambda: arp(literal, family, timeout),
    ]
    heard: queue.Queue[Probe] = queue.Queue()
    for layer in layers:
        threading.Thread(target=_ask, args=(layer, heard), daemon=True).start()
    deadline = clock.now().seconds + timeout + 0.5  # each layer keeps the timeout itself; the rest is for its return
    probes: list[Probe] = []
    while len(probes) < len(layers):
        try:
            probe = heard.get(timeout=max(deadline - clock.now().seconds, 0.001))
        except queue.Empty:
            break
        if probe.heard is Heard.ANSWER:
            return Evidence.OK, probe.text
        probes.append(probe)
    reason = "; ".join(sorted(probe.text for probe in probes)) or "no probe came back within %g s" % timeout
    silent = any(probe.heard is Heard.SILENCE for probe in probes)
    return Evidence.FAILED if silent else Evidence.UNKNOWN, reason


def probe_isolation(addresses: Sequence[str], timeout: float) -> list[IsolationProbe]:
    """Which of the isolation addresses answer this machine; all are asked at once."""
    looks = {address: partial(ping, address, ISOLATION_PORT, timeout) for address in addresses}
    outcomes = in_parallel(looks, timeout + 1.0)
    return [IsolationProbe(address, _answers(outcomes[address])) for address in looks]


def resolve(address: str, port: int) -> tuple[int, str]:
    """Address family and numeric address; IPv4 first where a name has both. Raises OSError, ValueError."""
    found = sorted(socket.getaddrinfo(bare_host(address), port, 0, socket.SOCK_STREAM), key=lambda entry: entry[0] != socket.AF_INET)
    return found[0][0], str(found[0][4][0])


def _ask(layer: Callable[[], Probe], heard: queue.Queue[Probe]) -> None:
    try:
        heard.put(layer())
    except Exception as error:
        heard.put(Probe(Heard.NOT_TRIED, "not tried: %s" % error))


def _answers(outcome: object) -> bool:
    return isinstance(outcome, tuple) and outcome[0] is Evidence.OK
