"""Every way in which a host does not let us in is a different answer: real sockets, real TLS."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection, HostUnavailable
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from certificates import Authority
from pyVmomi import vim, vmodl
from scripted_host import HangUp, ScriptedHost, Silence, connect_proxy, listener, refused_port

Connect = Callable[..., Connection]


def answer_of(connection: Connection) -> HostUnavailable:
    with pytest.raises(HostUnavailable) as refused, open_hypervisor(connection):
        pass
    assert refused.value.host == "esx1"
    assert refused.value.remedy
    assert "secret-word" not in str(refused.value)
    return refused.value


def test_a_host_that_lets_us_in_is_asked_twice_and_logged_out_once(host: ScriptedHost, connect: Connect) -> None:
    with open_hypervisor(connect(host.port)):
        assert host.asked == ["RetrieveServiceContent", "Login"]
    assert host.asked == ["RetrieveServiceContent", "Login", "Logout"]
    assert host.connections == 1


def test_a_refused_port(connect: Connect) -> None:
    with refused_port() as port:
        assert answer_of(connect(port)).answer is ApiAnswer.REFUSED


def test_a_port_that_accepts_and_stays_silent_times_out(connect: Connect) -> None:
    with listener() as port:
        began = clock.now().seconds
        refused = answer_of(connect(port, timeout=0.5))
    assert refused.answer is ApiAnswer.TIMED_OUT
    assert "TLS did not answer" in refused.message
    assert clock.now().seconds - began < 10  # a hang guard


def test_a_port_without_tls(connect: Connect) -> None:
    with listener(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as port:
        assert answer_of(connect(port)).answer is ApiAnswer.TLS_REFUSED


def test_a_handshake_that_is_cut_off(connect: Connect) -> None:
    with listener(b"") as port:
        assert answer_of(connect(port)).answer is ApiAnswer.TLS_REFUSED


def test_a_certificate_of_an_unknown_authority(tmp_path: Path, host: ScriptedHost, connect: Connect) -> None:
    other = Authority(tmp_path, "other-ca")
    refused = answer_of(connect(host.port, ca_path=str(other.ca_path)))
    assert refused.answer is ApiAnswer.CERTIFICATE_REFUSED
    assert "ca_path" in refused.remedy
    assert host.asked == []  # nothing was sent to a host whose certificate is not accepted


def test_a_certificate_of_the_systems_authorities_is_wanted_without_ca_path(host: ScriptedHost, connect: Connect) -> None:
    assert answer_of(connect(host.port, ca_path=None)).answer is ApiAnswer.CERTIFICATE_REFUSED


def test_a_certificate_for_another_name(authority: Authority, connect: Connect) -> None:
    scripted = ScriptedHost(authority.issue("esx9.example.org").path)
    try:
        refused = answer_of(connect(scripted.port))
        assert refused.answer is ApiAnswer.CERTIFICATE_REFUSED
        assert "127.0.0.1" in refused.message
        assert scripted.asked == []
    finally:
        scripted.close()


def test_a_certificate_is_verified_for_localhost_too(host: ScriptedHost, connect: Connect) -> None:
    """pyVmomi's own SmartConnect would not: it takes any certificate from this machine."""
    assert answer_of(connect(host.port, hostname="localhost")).answer is ApiAnswer.CERTIFICATE_REFUSED


def test_a_hosts_own_certificate_will_do_as_its_authority(host: ScriptedHost, certificate: Path, connect: Connect) -> None:
    with open_hypervisor(connect(host.port, ca_path=str(certificate))):
        assert host.asked == ["RetrieveServiceContent", "Login"]


def test_any_certificate_will_do_when_the_operator_says_so(tmp_path: Path, connect: Connect) -> None:
    scripted = ScriptedHost(Authority(tmp_path, "other-ca").issue("esx9.example.org").path)
    try:
        with open_hypervisor(connect(scripted.port, ca_path=None, validate_certs=False)):
            assert scripted.asked == ["RetrieveServiceContent", "Login"]
    finally:
        scripted.close()


def test_a_host_whose_ca_file_holds_no_certificate_was_not_asked(tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(HostUnavailable, match=r"ca\.pem cannot be used") as refused:
        open_hypervisor(connect(443, ca_path=str(tmp_path / "ca.pem")))
    assert refused.value.answer is ApiAnswer.NOT_ASKED


@pytest.mark.parametrize("hostname", ["no-such-host.invalid", "a..b", "x" * 300])
def test_a_name_that_cannot_be_resolved(hostname: str, connect: Connect) -> None:
    assert answer_of(connect(443, hostname=hostname)).answer is ApiAnswer.NAME_NOT_RESOLVED


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (vim.fault.InvalidLogin(msg="Cannot complete login due to an incorrect user name or password."), ApiAnswer.LOGIN_REFUSED),
        (vim.fault.PasswordExpired(msg="The password has expired."), ApiAnswer.LOGIN_REFUSED),
        (vim.fault.NoPermission(msg="Denied.", object=vim.Folder("ha-folder-root"), privilegeId="System.View"), ApiAnswer.LOGIN_REFUSED),
        (vim.fault.RestrictedVersion(msg="Current license or ESXi version prohibits execution."), ApiAnswer.LICENCE_REFUSED),
        (vmodl.fault.SystemError(msg="A general system error occurred.", reason="hostd"), ApiAnswer.BROKEN),
    ],
)
def test_a_login_that_is_answered_with_a_fault(fault: Exception, answer: ApiAnswer, host: ScriptedHost, connect: Connect) -> None:
    host.replies["Login"] = fault
    refused = answer_of(connect(host.port))
    assert refused.answer is answer
    assert fault.msg in refused.message
    assert host.asked == ["RetrieveServiceContent", "Login"]  # not tried again


@pytest.mark.parametrize(
    "reply",
    [
        (503, b"Service Unavailable"),
        (200, b"<html><body>a router's page</body></html>"),
        (200, b"not XML at all"),
        (200, b""),
        (500, b"<html>oops</html>"),
        HangUp,
    ],
)
def test_something_that_is_not_the_api(reply: object, host: ScriptedHost, connect: Connect) -> None:
    host.replies["RetrieveServiceContent"] = reply
    assert answer_of(connect(host.port)).answer is ApiAnswer.BROKEN
    assert host.asked == ["RetrieveServiceContent"]  # not tried again


@pytest.mark.parametrize("method", ["RetrieveServiceContent", "Login"])
def test_an_agent_that_takes_the_request_and_never_answers(method: str, host: ScriptedHost, connect: Connect) -> None:
    host.replies[method] = Silence
    assert answer_of(connect(host.port, timeout=0.5)).answer is ApiAnswer.TIMED_OUT
    assert host.asked[-1] == method
    assert "Logout" not in host.asked


def test_an_agent_that_hangs_after_the_login_is_not_waited_for_at_logout(host: ScriptedHost, connect: Connect) -> None:
    host.replies["RetrievePropertiesEx"] = Silence
    with pytest.raises(HostUnavailable) as refused, open_hypervisor(connect(host.port, timeout=0.5)) as hypervisor:
        hypervisor.health()
    assert refused.value.answer is ApiAnswer.TIMED_OUT
    assert host.asked == ["RetrieveServiceContent", "Login", "RetrievePropertiesEx"]


def test_a_user_who_may_log_in_but_not_look_is_an_operators_error(host: ScriptedHost, connect: Connect) -> None:
    host.replies["RetrievePropertiesEx"] = None
    with pytest.raises(HostUnavailable) as refused, open_hypervisor(connect(host.port)) as hypervisor:
        hypervisor.health()
    assert refused.value.answer is ApiAnswer.LOGIN_REFUSED


def test_a_proxy_that_does_not_answer_says_nothing_about_the_host(connect: Connect) -> None:
    with refused_port() as port:
        refused = answer_of(connect(443, proxy_host="127.0.0.1", proxy_port=port))
    assert refused.answer is ApiAnswer.NOT_ASKED


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (b"407 Proxy Authentication Required", ApiAnswer.NOT_ASKED),
        (b"503 Service Unavailable", ApiAnswer.NOT_ASKED),  # what a proxy says whose own name service is down
        (b"504 Gateway Timeout", ApiAnswer.UNREACHABLE),
    ],
)
def test_a_proxy_that_refuses(status: bytes, answer: ApiAnswer, connect: Connect) -> None:
    with listener(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n") as port:
        assert answer_of(connect(443, proxy_host="127.0.0.1", proxy_port=port)).answer is answer


def test_through_a_proxy_the_hosts_own_certificate_is_verified(host: ScriptedHost, connect: Connect, tmp_path: Path) -> None:
    with connect_proxy() as (port, wanted):
        with open_hypervisor(connect(host.port, proxy_host="localhost", proxy_port=port)):
            assert host.asked == ["RetrieveServiceContent", "Login"]
        assert wanted == ["127.0.0.1:%d" % host.port]
        other = str(Authority(tmp_path, "other-ca").ca_path)
        assert answer_of(connect(host.port, proxy_host="localhost", proxy_port=port, ca_path=other)).answer is ApiAnswer.CERTIFICATE_REFUSED


def test_a_password_is_not_in_a_connections_text(connect: Connect) -> None:
    assert "secret-word" not in repr(connect(443))
