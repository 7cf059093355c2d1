"""A dead host is a result, and what one host does never changes what is known of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.arguments.hosts import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.decide.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.decide.observations import ApiAnswer, Evidence, HostObservation, Power
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.observe import hosts
from ansible_collections.libreha.vmware.plugins.module_utils.observe.hosts import observe_hosts
from ansible_collections.libreha.vmware.plugins.module_utils.observe.vms import observe_vms
from sockets import refused_port, silent_port

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
        ("nameless", ApiAnswer.UNREACHABLE),
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
    read_for_real: Callable[[Connection], HostObservation] = hosts._read_health

    def hang_on_one(connection: Connection) -> HostObservation:
        if connection.name == "endless":
            clock.sleep(30)
        return read_for_real(connection)

    monkeypatch.setattr(hosts, "_read_health", hang_on_one)
    with refused_port() as refused, silent_port() as silent:
        seen, _isolation = observe_hosts([access("endless", silent), access("refused", refused)], [], AT)
    assert [host.api_answer for host in seen] == [ApiAnswer.TIMED_OUT, ApiAnswer.REFUSED]
    assert "too slowly" in seen[0].api_reason


def test_a_strange_answer_of_one_host_does_not_blind_us_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def strange(connection: Connection) -> HostObservation:
        if connection.name == "strange":
            raise KeyError("no such thing")
        return HostObservation(connection.name, AT, ApiAnswer.ANSWERED)

    monkeypatch.setattr(hosts, "_read_health", strange)
    with refused_port() as port:
        seen, _isolation = observe_hosts([access("strange", port), access("good", port)], [], AT)
    assert [host.api_answer for host in seen] == [ApiAnswer.BROKEN, ApiAnswer.ANSWERED]
    assert "KeyError" in seen[0].api_reason


def test_an_operators_error_that_concerns_no_host_fails_the_look(tmp_path: Any) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with refused_port() as port, pytest.raises(LibrehaError, match="cannot be used"):
        observe_hosts([access("esx1", port, validate_certs=True, ca_path=str(tmp_path / "ca.pem"))], [], AT)


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
