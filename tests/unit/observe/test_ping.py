"""An address answers on any layer, is silent on all, or could not really be asked: three different things."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer, Evidence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import IsolationProbe
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.network import Failure, failure_of
from ansible_collections.libreha.vmware.plugins.module_utils.observe import layers, ping
from ansible_collections.libreha.vmware.plugins.module_utils.observe.hosts import observe_hosts
from ansible_collections.libreha.vmware.plugins.module_utils.observe.layers import Heard, Probe
from sockets import refused_port, silent_port


@pytest.fixture
def only_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    for layer in ("icmp", "arp"):
        monkeypatch.setattr(ping, layer, lambda *_arguments, layer=layer: Probe(Heard.NOT_TRIED, layer + " not tried"))


@pytest.mark.usefixtures("only_tcp")
def test_a_connection_and_a_refusal_both_prove_a_living_host() -> None:
    with silent_port() as port:
        assert ping.ping("127.0.0.1", port, 5) == (Evidence.OK, "TCP port %d connected" % port)
    with refused_port() as port:
        assert ping.ping("127.0.0.1", port, 5) == (Evidence.OK, "TCP port %d refused the connection" % port)


def test_an_answer_on_another_layer_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ping, "tcp", lambda *_arguments: Probe(Heard.SILENCE, "TCP silent"))
    monkeypatch.setattr(ping, "arp", lambda *_arguments: Probe(Heard.ANSWER, "ARP answered"))
    monkeypatch.setattr(ping, "icmp", lambda *_arguments: Probe(Heard.SILENCE, "ICMP silent"))
    assert ping.ping("127.0.0.1", 1, 5) == (Evidence.OK, "ARP answered")


@pytest.mark.parametrize(
    ("tcp", "icmp", "arp", "evidence"),
    [
        (Heard.SILENCE, Heard.SILENCE, Heard.SILENCE, Evidence.FAILED),
        (Heard.SILENCE, Heard.NOT_TRIED, Heard.NOT_TRIED, Evidence.FAILED),
        (Heard.NOT_TRIED, Heard.NOT_TRIED, Heard.NOT_TRIED, Evidence.UNKNOWN),
    ],
)
def test_silence_counts_only_where_it_was_really_asked(
    tcp: Heard, icmp: Heard, arp: Heard, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    for layer, heard in (("tcp", tcp), ("icmp", icmp), ("arp", arp)):
        monkeypatch.setattr(ping, layer, lambda *_arguments, text=layer, heard=heard: Probe(heard, text))
    answered, reason = ping.ping("127.0.0.1", 1, 5)
    assert answered is evidence
    assert reason == "arp; icmp; tcp"  # every layer is named


def test_probes_that_do_not_come_back_are_the_observers_own_lateness(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_arguments: Any) -> Probe:
        clock.sleep(5)
        return Probe(Heard.SILENCE, "too late")

    for layer in ("tcp", "icmp", "arp"):
        monkeypatch.setattr(ping, layer, late)
    assert ping.ping("127.0.0.1", 1, 0.1)[0] is Evidence.UNKNOWN


def test_an_ipv6_address_in_brackets_is_asked() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        assert ping.ping("[::1]", listening.getsockname()[1], 2.0)[0] is Evidence.OK


def test_a_name_that_cannot_be_resolved_is_no_evidence() -> None:
    assert ping.ping("no-such-host.invalid", 443, 5)[0] is Evidence.UNKNOWN


def test_a_missing_icmp_permission_is_said_and_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    icmplib = pytest.importorskip("icmplib")

    def forbidden(privileged: bool) -> None:
        raise icmplib.SocketPermissionError(privileged)

    monkeypatch.setattr(icmplib, "ICMPv4Socket", forbidden)
    probe = layers.icmp("127.0.0.1", socket.AF_INET, 1)
    assert probe.heard is Heard.NOT_TRIED
    assert "permission" in probe.text


def test_a_missing_icmplib_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "icmplib", None)
    probe = layers.icmp("127.0.0.1", socket.AF_INET, 1)
    assert probe.heard is Heard.NOT_TRIED
    assert "icmplib" in probe.text


def test_this_machines_own_address_is_not_asked_by_arp() -> None:
    assert layers.arp("127.0.0.1", socket.AF_INET, 1).heard is Heard.NOT_TRIED


def test_isolation_addresses_are_all_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ping, "ping", lambda address, _port, _timeout: (Evidence.OK if address == "gw" else Evidence.FAILED, ""))
    assert ping.probe_isolation(["gw", "dns"], 5) == [IsolationProbe("gw", True), IsolationProbe("dns", False)]


class Cable:
    """Two network namespaces on a cable: the observer (198.51.100.1) and its neighbour (198.51.100.2), a router."""

    def __init__(self) -> None:
        self.observer, self.neighbour = ("lhp%d%s" % (os.getpid(), side) for side in "ab")
        for namespace in (self.observer, self.neighbour):
            self.ip("netns", "add", namespace)
        self.ip("-n", self.observer, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.neighbour)
        for number, namespace in enumerate((self.observer, self.neighbour), 1):
            self.ip("-n", namespace, "address", "add", "198.51.100.%d/30" % number, "dev", "eth0")
            self.ip("-n", namespace, "link", "set", "eth0", "up")
        self.ip("-n", self.observer, "route", "add", "default", "via", NEIGHBOUR)
        self.ip("-n", self.neighbour, "route", "add", "unreachable", "203.0.113.0/24")
        self.ip("netns", "exec", self.neighbour, "sysctl", "-qw", "net.ipv4.ip_forward=1")

    @staticmethod
    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=True)

    def observe(self, call: Callable[[], Any]) -> Any:
        """Call in a thread that lives in the observer's namespace; threads that it starts live there too."""
        result: list[Any] = []

        def inside() -> None:
            with open("/run/netns/" + self.observer) as namespace:
                assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) == 0
            result.append(call())

        thread = threading.Thread(target=inside)
        thread.start()
        thread.join(60)
        return result[0]

    def remove(self) -> None:
        for namespace in (self.observer, self.neighbour):
            self.ip("netns", "del", namespace, check=False)


NEIGHBOUR = "198.51.100.2"
BEHIND = "203.0.113.9"


@pytest.fixture
def cable() -> Iterator[Cable]:
    if os.geteuid() != 0:
        pytest.skip("needs root: makes network namespaces")
    made = Cable()
    yield made
    made.remove()


def test_a_neighbour_answers_on_every_layer_and_is_silent_when_it_is_gone(cable: Cable) -> None:
    arp = cable.observe(lambda: layers.arp(NEIGHBOUR, socket.AF_INET, 5))
    assert arp.heard is Heard.ANSWER
    assert arp.text.startswith("ARP answered from ")
    assert cable.observe(lambda: layers.icmp(NEIGHBOUR, socket.AF_INET, 5)) == Probe(Heard.ANSWER, "ICMP echo answered")
    assert cable.observe(lambda: layers.tcp(NEIGHBOUR, socket.AF_INET, 443, 5)) == Probe(
        Heard.ANSWER, "TCP port 443 refused the connection"
    )
    assert cable.observe(lambda: ping.ping(NEIGHBOUR, 443, 5))[0] is Evidence.OK

    cable.ip("-n", cable.neighbour, "address", "flush", "dev", "eth0")
    for probe in (
        cable.observe(lambda: layers.arp(NEIGHBOUR, socket.AF_INET, 1)),
        cable.observe(lambda: layers.icmp(NEIGHBOUR, socket.AF_INET, 1)),
        cable.observe(lambda: layers.tcp(NEIGHBOUR, socket.AF_INET, 443, 1)),
    ):
        assert probe.heard is Heard.SILENCE, probe
    assert cable.observe(lambda: ping.ping(NEIGHBOUR, 443, 1))[0] is Evidence.FAILED


def test_a_routers_unreachable_is_no_answer_of_the_host_behind_it(cable: Cable) -> None:
    assert cable.observe(lambda: layers.icmp(BEHIND, socket.AF_INET, 2)).heard is Heard.SILENCE
    assert cable.observe(lambda: layers.arp(BEHIND, socket.AF_INET, 1)).heard is Heard.NOT_TRIED  # not on our segment
    assert cable.observe(lambda: ping.ping(BEHIND, 443, 2))[0] is Evidence.FAILED


def answers_of(cable: Cable, address: str) -> tuple[ApiAnswer, Evidence]:
    """What a whole look at a host at *address* finds: its API and its ping."""
    connection = Connection("esx1", address, "root", "pw", timeout=5.0, validate_certs=False)
    (seen,), _isolation = cable.observe(lambda: observe_hosts([HostAccess(connection)], [], Instant("boot", 1.0)))
    return seen.api_answer, seen.ping


def test_a_host_that_is_gone_from_its_own_segment_or_behind_a_router_is_silent(cable: Cable) -> None:
    """The kernel says so of some connections at a time ("no route to host"), and lets the others time out (icmp_ratelimit)."""
    silent = {(ApiAnswer.UNREACHABLE, Evidence.FAILED), (ApiAnswer.TIMED_OUT, Evidence.FAILED)}
    assert answers_of(cable, NEIGHBOUR) == (ApiAnswer.REFUSED, Evidence.OK)
    assert answers_of(cable, BEHIND) in silent
    cable.ip("-n", cable.neighbour, "address", "flush", "dev", "eth0")
    assert answers_of(cable, NEIGHBOUR) in silent


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (errno.ECONNREFUSED, Failure.ANSWERED),
        (errno.ECONNRESET, Failure.ANSWERED),
        (errno.EHOSTUNREACH, Failure.SILENT),  # no ARP reply: the usual end of a host on this segment
        (errno.ETIMEDOUT, Failure.SILENT),
        (errno.ENETUNREACH, Failure.NO_ROUTE),
        (errno.EPERM, Failure.NO_ROUTE),
        (errno.EMFILE, Failure.NOT_SENT),
        (errno.ENOBUFS, Failure.NOT_SENT),
    ],
)
def test_only_what_is_known_to_be_silence_is_silence(number: int, failure: Failure) -> None:
    assert failure_of(OSError(number, os.strerror(number))) is failure


@pytest.mark.parametrize(
    "fault",
    [
        ("link", "set", "eth0", "down"),
        ("address", "flush", "dev", "eth0"),
        ("route", "add", "unreachable", NEIGHBOUR),
        ("route", "add", "prohibit", NEIGHBOUR),
        ("route", "add", "blackhole", NEIGHBOUR),
    ],
    ids=lambda fault: " ".join(fault[:3]),
)
def test_an_observer_without_a_way_to_the_host_has_no_evidence(fault: tuple[str, ...], cable: Cable) -> None:
    """Nothing was sent: that says something about the observer, and nothing about the host."""
    cable.ip("-n", cable.observer, *fault)
    assert answers_of(cable, NEIGHBOUR) == (ApiAnswer.NO_ROUTE, Evidence.UNKNOWN)
