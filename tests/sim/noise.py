"""Hours of a healthy cluster in which nothing is ever quite still: no disturbance lasts as long as what docs/safety.md calls a failure."""

from __future__ import annotations

import random
from typing import Any

Raw = dict[str, Any]
HOUR = 3600.0
SHORTEST, LONGEST = 0.3, 8.0  # s that a disturbance lasts: below io_stale (10 s), so below confirm_after (15 s) too
PAUSE = 20.0  # s, at least, between two disturbances of one path: they are not one long silence
HOSTS = ("node1", "node2", "node3", "node4")
SERVERS = ("san", "san2")
EVERY = 45.0  # s, on the average, between two disturbances of one path


def noisy_hour(number: int, longest: float = LONGEST) -> Raw:
    """The hour of that number: packets lost on the management network and on the way to each target, an agent that answers late, a target
    whose disks stall for all hosts at once, an arbiter that reaches its second server now and then only, and one that is busy."""
    rng = random.Random(number)
    timeline: list[Raw] = []
    for host in HOSTS:
        network, api, bmc = (_outages(rng, {"do": do, "host": host}, longest) for do in ("network", "api", "bmc"))
        # A lost network silences the API as well: two outages of a path that join are one that is longer.
        timeline += network + _apart(api, network) + bmc
    for server in SERVERS:
        stalls = _outages(rng, {"do": "storage", "server": server}, longest, 10 * EVERY)
        timeline += [{**entry, "host": host} for entry in stalls for host in HOSTS]
    for host in HOSTS:  # between the stalls of all: not joined to them into one silence that is longer
        storage = [entry for entry in timeline if entry["do"] == "storage" and entry["host"] == host]
        timeline += _apart(_outages(rng, {"do": "storage", "host": host, "server": rng.choice(SERVERS)}, longest), storage)
    timeline += _outages(rng, {"do": "ssh", "server": "san2"}, longest, 4 * EVERY)
    timeline += [{"at": at, "do": "looks", "by": rng.choice((0, 0, 0.5, 2, 5))} for at in range(30, int(HOUR), 60)]
    return {
        "name": "noisy hour %d" % number,
        "policy": {"isolation_response": "failover", "agent_hung_response": "failover", "max_dead_fraction": 1.0},
        "hosts": {name: {"bmc": rng.random() < 0.7} for name in HOSTS},
        "storage": dict.fromkeys(SERVERS),
        "vms": {"vm%d" % index: {"host": HOSTS[index % len(HOSTS)], "storage": list(_lies(rng))} for index in range(8)},
        "timeline": timeline,
        "until": HOUR,
    }


def _lies(rng: random.Random) -> tuple[str, ...]:
    return rng.choice((SERVERS[:1], SERVERS[1:], SERVERS))


def _outages(rng: random.Random, what: Raw, longest: float, every: float = EVERY) -> list[Raw]:
    """Short ones, mostly, with pauses between them."""
    found: list[Raw] = []
    at = rng.uniform(PAUSE, every)
    while at + longest < HOUR:
        lasts = SHORTEST + (longest - SHORTEST) * rng.random() ** 2
        found += [{**what, "at": round(at, 2), "to": "off"}, {**what, "at": round(at + lasts, 2), "to": "on"}]
        at += lasts + PAUSE + rng.expovariate(1 / every)
    return found


def _apart(outages: list[Raw], others: list[Raw]) -> list[Raw]:
    """Those of *outages* that are PAUSE apart from all of *others*."""
    kept: list[Raw] = []
    for off, on in zip(outages[::2], outages[1::2]):
        if not any(off["at"] - PAUSE < other["at"] < on["at"] + PAUSE for other in others):
            kept += [off, on]
    return kept
