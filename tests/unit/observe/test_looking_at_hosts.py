"""A dead host is a result, and what one host does never changes what is known of the others."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer, Evidence
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import HostObservation, Power
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor import session
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection, HostUnavailable
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.sessions import HostSessions
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.observe import hosts
from ansible_collections.libreha.vmware.plugins.module_utils.observe.hosts import observe_hosts
from ansible_collections.libreha.vmware.plugins.module_utils.observe.vms import observe_vms
from ansible_collections.libreha.vmware.plugins.module_utils.stall_detector import LATE, StallDetector
from sockets import connections, refused_port, silent_port

AT = Instant("boot", 100.0, "now")


def access(name: str, port: int, *bmc: PowerDevice, **options: Any) -> HostAccess:
    given: dict[str, Any] = {"hostname": "127.0.0.1", "timeout": 0.5, "validate_certs": False, **options}
    return HostAccess(Connection(name=name, username="root", password="pw", port=port, **given), bmc)


def test_each_host_gets_its_own_answer_in_the_order_given() -> None:
    with refused_port() as refused, silent_port() as silent:
        seen, isolation = observe_hosts(
            [access("silent", silent), access("refused", refused), access("nameless", 443, hostname="no-such-host.invalid")], [], AT
        )
    assert [(host.name, host.api_answer) for host in seen] == [
        ("silent", ApiAnswer.TIMED_OUT),
        ("refused", ApiAnswer.REFUSED),
        ("nameless", ApiAnswer.NAME_NOT_RESOLVED),
    ]
    assert [host.ping for host in seen] == [Evidence.OK, Evidence.OK, Evidence.UNKNOWN]
    assert all(host.taken_at == AT for host in seen)
    assert all("Remedy" in host.api_reason for host in seen)
    assert isolation == []


def test_no_hosts_give_no_observations_but_the_isolation_addresses_are_asked() -> None:
    seen, isolation = observe_hosts([], ["127.0.0.1"], AT)
    assert seen == []
    assert [probe.answers for probe in isolation] == [True]
    assert observe_vms([], {}, True).vms_read == ()


def test_many_silent_hosts_take_no_longer_than_one() -> None:
    with silent_port() as silent:
        began = clock.now().seconds
        seen, _isolation = observe_hosts([access("esx%d" % number, silent) for number in range(30)], [], AT)
        took = clock.now().seconds - began
    assert {host.api_answer for host in seen} == {ApiAnswer.TIMED_OUT}
    assert took < 10  # one after another would be 15 s at least


def test_a_host_that_never_comes_to_an_end_is_timed_out_and_the_others_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    read_for_real: Callable[[HostSessions, Connection], HostObservation] = hosts._read_health

    def hang_on_one(sessions: HostSessions, connection: Connection) -> HostObservation:
        if connection.name == "endless":
            clock.sleep(30)
        return read_for_real(sessions, connection)

    monkeypatch.setattr(hosts, "_read_health", hang_on_one)
    with refused_port() as refused, silent_port() as silent:
        seen, _isolation = observe_hosts([access("endless", silent), access("refused", refused)], [], AT)
    assert [host.api_answer for host in seen] == [ApiAnswer.TIMED_OUT, ApiAnswer.REFUSED]
    assert "too slowly" in seen[0].api_reason


def test_a_name_service_that_hangs_or_is_slow_is_no_silence_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_for_real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        clock.sleep({"hangs": 30.0, "slow": 0.8, "very-slow": 3.0}.get(host, 0.0))
        return resolve_for_real("127.0.0.1" if "slow" in host or host == "hangs" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with silent_port() as silent:
        accesses = [access(name, silent, hostname=name, timeout=1.0) for name in ("hangs", "very-slow", "slow")]
        seen, _isolation = observe_hosts(accesses, [], AT)
    assert [host.api_answer for host in seen] == [ApiAnswer.NAME_NOT_RESOLVED, ApiAnswer.NAME_NOT_RESOLVED, ApiAnswer.TIMED_OUT]
    assert [host.ping for host in seen] == [Evidence.UNKNOWN, Evidence.UNKNOWN, Evidence.OK]
    assert all("name service" in host.api_reason for host in seen[:2])


def test_an_observer_without_file_descriptors_has_asked_nobody() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    with refused_port() as port:
        connection = access("esx1", port).connection
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, limit[1]))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
            with pytest.raises(HostUnavailable) as refused, open_hypervisor(connection):
                pass
        finally:
            for descriptor in taken:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert refused.value.answer is ApiAnswer.NOT_ASKED
    assert "Too many open files" in str(refused.value)


def test_an_observer_that_was_stopped_while_it_waited_has_no_evidence() -> None:
    """Its timeouts run out while it does not run itself; the host answers nothing at all here, which it cannot know."""
    ours, childs = multiprocessing.Pipe()

    def look(silent: int) -> None:
        childs.send("begins")
        seen, _isolation = observe_hosts([access("esx1", silent, timeout=2.0)], [], AT)
        childs.send((seen[0].api_answer, seen[0].api_reason))

    with silent_port() as silent:
        observer = multiprocessing.get_context("fork").Process(target=look, args=(silent,))
        observer.start()
        assert observer.pid is not None
        assert ours.recv() == "begins"
        while not connections(silent):
            clock.sleep(0.02)
        os.kill(observer.pid, signal.SIGSTOP)
        clock.sleep(LATE + 1.0)
        os.kill(observer.pid, signal.SIGCONT)
        answer, reason = ours.recv()
        observer.join(30)
    assert answer is ApiAnswer.NOT_ASKED
    assert "this machine itself was" in reason


def test_silence_while_the_observer_is_late_is_no_evidence_and_an_answer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StallDetector, "reason", "this machine itself was 3.0 s late")
    monkeypatch.setattr(hosts, "ping", lambda address, *_arguments: (Evidence.OK if address == "127.0.0.1" else Evidence.FAILED, "ICMP"))
    with silent_port() as silent, refused_port() as refused:
        seen, _isolation = observe_hosts([access("silent", silent, hostname="127.0.0.2"), access("refused", refused)], [], AT)
    assert [host.api for host in seen] == [Evidence.UNKNOWN, Evidence.UNKNOWN]
    assert [host.ping for host in seen] == [Evidence.UNKNOWN, Evidence.OK]


def test_a_strange_answer_of_one_host_does_not_blind_us_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def strange(_sessions: HostSessions, connection: Connection) -> HostObservation:
        if connection.name == "strange":
            raise KeyError("no such thing")
        return HostObservation(connection.name, AT, ApiAnswer.ANSWERED)

    monkeypatch.setattr(hosts, "_read_health", strange)
    with refused_port() as port:
        seen, _isolation = observe_hosts([access("strange", port), access("good", port)], [], AT)
    assert [host.api_answer for host in seen] == [ApiAnswer.NOT_ASKED, ApiAnswer.ANSWERED]
    assert seen[0].api is Evidence.UNKNOWN  # that we fail at its answer proves nothing against the host
    assert "KeyError" in seen[0].api_reason


def test_an_unusable_ca_file_costs_the_look_at_that_host_and_at_no_other(tmp_path: Any) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with refused_port() as port:
        bad = access("esx1", port, validate_certs=True, ca_path=str(tmp_path / "ca.pem"))
        seen, _isolation = observe_hosts([bad, access("esx2", port)], [], AT)
    assert [host.api_answer for host in seen] == [ApiAnswer.NOT_ASKED, ApiAnswer.REFUSED]
    assert seen[0].api is Evidence.UNKNOWN
    assert "ca.pem cannot be used" in seen[0].api_reason and "ca_path" in seen[0].api_reason


def test_a_missing_library_fails_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PROBLEM", "ModuleNotFoundError: No module named 'pyVmomi'")
    with refused_port() as port, pytest.raises(LibrehaError, match="pyVmomi"):
        observe_hosts([access("esx1", port)], [], AT)


def test_a_bmc_that_does_not_answer_leaves_the_power_unknown_with_the_reason() -> None:
    with refused_port() as port, refused_port() as bmc_port:
        bmc = PowerDevice("esx1", "https://127.0.0.1:%d" % bmc_port, "u", "p", timeout=0.5)
        seen, _isolation = observe_hosts([access("esx1", port, bmc), access("esx2", port)], [], AT)
    assert (seen[0].power, seen[0].has_bmc) == (Power.UNKNOWN, True)
    assert seen[0].power_reason
    assert (seen[1].power, seen[1].has_bmc, seen[1].power_reason) == (Power.UNKNOWN, False, "no BMC is configured")


def test_a_refused_api_connection_proves_the_address_answers_even_if_the_ping_did_not_return(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "ping", lambda *_arguments: (Evidence.FAILED, "silent"))
    with refused_port() as port, silent_port() as silent:
        seen, _isolation = observe_hosts([access("refused", port), access("silent", silent)], [], AT)
    assert [host.ping for host in seen] == [Evidence.OK, Evidence.FAILED]


def test_vms_of_a_host_that_does_not_answer_are_not_read_and_it_is_named() -> None:
    with refused_port() as refused:
        seen = observe_vms([access("esx1", refused)], {}, True)
    assert (seen.vms, seen.vms_read, seen.events) == ((), (), ())
    (unread,) = seen.unread
    assert (unread.host, unread.answer) == ("esx1", ApiAnswer.REFUSED)
    assert "Remedy" in unread.reason
