"""A session with a host stays open from question to question, is opened again when it ends, and never holds more than one worker."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils import clock
from ansible_collections.libreha.vmware.plugins.module_utils.access import HostAccess
from ansible_collections.libreha.vmware.plugins.module_utils.act.worker import ForkServer
from ansible_collections.libreha.vmware.plugins.module_utils.decide.answers import ApiAnswer, Evidence
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection, HostUnavailable, Hypervisor
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.sessions import CLOSE_SECONDS, HostSessions
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant
from ansible_collections.libreha.vmware.plugins.module_utils.observe.hosts import observe_hosts
from ansible_collections.libreha.vmware.plugins.module_utils.observe.pools import Pools
from ansible_collections.libreha.vmware.plugins.module_utils.observe.vms import observe_vms
from pyVmomi import vim
from scripted_host import HangUp, ScriptedHost, Silence, Trickle, properties

Connect = Callable[..., Connection]
AT = Instant("boot", 100.0, "now")
ONE_HOST = properties((vim.HostSystem("ha-host"), {"name": "esx1"}))


@pytest.fixture
def host(host: ScriptedHost) -> ScriptedHost:
    host.replies["RetrievePropertiesEx"] = ONE_HOST
    host.replies["RetrieveHardwareUptime"] = 100
    return host


@pytest.fixture
def sessions() -> Iterator[HostSessions]:
    with HostSessions() as opened:
        yield opened


def vms(hypervisor: Hypervisor) -> int:
    return len(hypervisor.virtual_machines())


def logins(host: ScriptedHost) -> int:
    return host.asked.count("Login")


def until(condition: Callable[[], Any]) -> None:
    end = clock.now().seconds + 30
    while not condition():
        assert clock.now().seconds < end
        clock.sleep(0.02)


def test_one_login_serves_all_questions_and_is_ended_once(host: ScriptedHost, connect: Connect) -> None:
    connection = connect(host.port)
    with HostSessions() as sessions:
        for _question in range(5):
            assert sessions.ask(connection, vms) == 0
        assert host.asked == ["RetrieveServiceContent", "Login", *["RetrievePropertiesEx"] * 5]
    assert host.asked[-1] == "Logout"
    with pytest.raises(HostUnavailable) as refused:
        sessions.ask(connection, vms)
    assert refused.value.answer is ApiAnswer.NOT_ASKED
    assert logins(host) == 1


def test_two_threads_open_one_session(host: ScriptedHost, connect: Connect, sessions: HostSessions) -> None:
    connection, together = connect(host.port), threading.Barrier(4, timeout=30)

    def ask() -> None:
        together.wait()
        sessions.ask(connection, vms)

    threads = [threading.Thread(target=ask) for _thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (logins(host), host.asked.count("RetrievePropertiesEx")) == (1, 4)


ENDED = vim.fault.NotAuthenticated(msg="the session is not authenticated")


@pytest.mark.parametrize(("replies", "needed"), [([ENDED], 2), ([HangUp], 1), ([HangUp, ENDED], 2)], ids=["ended", "connection", "both"])
def test_a_session_that_ended_is_opened_again_and_says_nothing_against_its_host(
    replies: list[Any], needed: int, host: ScriptedHost, connect: Connect
) -> None:
    connection = connect(host.port)
    with HostSessions() as sessions:
        sessions.ask(connection, vms)
        given = [*replies, ONE_HOST]
        host.replies["RetrievePropertiesEx"] = lambda: given.pop(0)
        assert sessions.ask(connection, vms) == 0
        assert (logins(host), given) == (needed, [])
    assert host.asked.count("Logout") == 1  # of the one that was not over


def test_a_host_that_always_hangs_up_is_told_by_that(host: ScriptedHost, connect: Connect, sessions: HostSessions) -> None:
    connection = connect(host.port)
    sessions.ask(connection, vms)
    host.replies["RetrievePropertiesEx"] = HangUp
    with pytest.raises(HostUnavailable) as refused:
        sessions.ask(connection, vms)
    assert refused.value.answer is ApiAnswer.BROKEN
    assert (logins(host), host.asked.count("RetrievePropertiesEx")) == (1, 3)


def test_a_host_that_refuses_the_new_login_is_told_by_that(host: ScriptedHost, connect: Connect, sessions: HostSessions) -> None:
    connection = connect(host.port)
    sessions.ask(connection, vms)
    host.replies["RetrievePropertiesEx"] = vim.fault.NotAuthenticated()
    host.replies["Login"] = vim.fault.InvalidLogin()
    with pytest.raises(HostUnavailable) as refused:
        sessions.ask(connection, vms)
    assert refused.value.answer is ApiAnswer.LOGIN_REFUSED
    assert "secret-word" not in str(refused.value) + repr(refused.value.__context__)


def test_what_a_host_refuses_in_a_session_ends_no_session(host: ScriptedHost, connect: Connect, sessions: HostSessions) -> None:
    connection = connect(host.port)
    sessions.ask(connection, vms)
    host.replies["RetrievePropertiesEx"] = vim.fault.NoPermission(object=vim.HostSystem("ha-host"), privilegeId="System.Read")
    for _question in range(3):
        with pytest.raises(HostUnavailable):
            sessions.ask(connection, vms)
    assert logins(host) == 1


def test_no_answer_in_time_is_an_answer_and_ends_no_session(host: ScriptedHost, connect: Connect, sessions: HostSessions) -> None:
    connection = connect(host.port, timeout=1.5)
    sessions.ask(connection, vms)
    host.replies["RetrievePropertiesEx"] = Silence
    with pytest.raises(HostUnavailable) as refused:
        sessions.ask(connection, vms)
    assert refused.value.answer is ApiAnswer.TIMED_OUT
    assert (logins(host), host.asked.count("RetrievePropertiesEx")) == (1, 2)
    host.replies["RetrievePropertiesEx"] = ONE_HOST
    assert sessions.ask(connection, vms) == 0
    assert logins(host) == 1


def asking_in_a_thread(sessions: HostSessions, connection: Connection) -> tuple[threading.Thread, list[Exception]]:
    """A thread that asks for the VMs, and the refusals that it meets."""
    raised: list[Exception] = []

    def ask() -> None:
        try:
            sessions.ask(connection, vms)
        except HostUnavailable as error:
            raised.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    return asking, raised


def says_nothing(raised: list[Exception]) -> bool:
    """Against the host: it was this process that ended the question."""
    return [error.answer for error in raised if isinstance(error, HostUnavailable)] == [ApiAnswer.NOT_ASKED]


def test_what_hangs_is_ended_at_once_when_it_is_cut_off(host: ScriptedHost, connect: Connect, sessions: HostSessions) -> None:
    connection = connect(host.port, timeout=30.0)
    sessions.ask(connection, vms)
    host.replies["RetrievePropertiesEx"] = Silence
    asking, raised = asking_in_a_thread(sessions, connection)
    until(lambda: host.asked[-1:] == ["RetrievePropertiesEx"] and host.asked.count("RetrievePropertiesEx") == 2)
    sessions.cut_off(connection)
    asking.join(10)
    assert not asking.is_alive()
    assert says_nothing(raised)
    host.replies["RetrievePropertiesEx"] = ONE_HOST
    assert sessions.ask(connection, vms) == 0


def test_a_login_that_is_cut_off_leaves_no_session_behind(host: ScriptedHost, connect: Connect, sessions: HostSessions) -> None:
    connection, goes_on = connect(host.port, timeout=30.0), threading.Event()
    content = host.replies["RetrieveServiceContent"]
    host.replies["RetrieveServiceContent"] = lambda: goes_on.wait(30) and content
    asking, raised = asking_in_a_thread(sessions, connection)
    until(lambda: "RetrieveServiceContent" in host.asked)
    sessions.cut_off(connection)
    asking.join(10)
    goes_on.set()
    assert says_nothing(raised) and logins(host) == 0


def test_a_host_that_left_the_configuration_is_logged_out(host: ScriptedHost, connect: Connect, sessions: HostSessions) -> None:
    one, other = connect(host.port), connect(host.port, timeout=3.0)
    sessions.ask(one, vms)
    sessions.ask(other, vms)
    sessions.keep_only([other])
    assert host.asked.count("Logout") == 1
    sessions.ask(other, vms)
    assert logins(host) == 2


def test_closing_waits_for_no_host_that_hangs(host: ScriptedHost, connect: Connect) -> None:
    sessions = HostSessions()
    sessions.ask(connect(host.port, timeout=30.0), vms)
    host.replies["Logout"] = Silence
    began = clock.now().seconds
    sessions.close()
    assert clock.now().seconds - began < CLOSE_SECONDS + 2


def test_another_process_neither_asks_nor_ends_what_it_inherited(host: ScriptedHost, connect: Connect, sessions: HostSessions) -> None:
    connection = connect(host.port)
    sessions.ask(connection, vms)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sessions.close()
            sessions.ask(connection, vms)
        except LibrehaError as error:
            code = 0 if "another process" in str(error) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sessions.ask(connection, vms) == 0
    assert host.asked[-1] == "RetrievePropertiesEx" and logins(host) == 1


def sockets_of(process: str) -> set[str]:
    """Open sockets, as the kernel numbers them."""
    found = set()
    for name in os.listdir("/proc/%s/fd" % process):
        try:
            link = os.readlink("/proc/%s/fd/%s" % (process, name))
        except OSError:
            continue
        if link.startswith("socket:"):
            found.add(link)
    return found


def test_a_child_that_acts_holds_no_session_of_the_monitor(host: ScriptedHost, connect: Connect) -> None:
    """The fork server is made first, as the monitor and ha_run do."""
    with ForkServer(lambda _order, _stopping: sorted(sockets_of("self"))) as server:
        before = sockets_of("self")
        with HostSessions() as sessions:
            sessions.ask(connect(host.port), vms)
            mine = sockets_of("self") - before
            child = server.start("list")
            until(child.poll)
    assert mine
    assert not mine & set(child.answer)


# Looks


def access(connection: Connection) -> HostAccess:
    return HostAccess(connection)


def test_look_after_look_logs_in_once(host: ScriptedHost, connect: Connect) -> None:
    connection = connect(host.port)
    with Pools() as pools:
        for _look in range(4):
            (seen,), _isolation = observe_hosts([access(connection)], [], AT, pools)
            assert seen.api_answer is ApiAnswer.ANSWERED
            assert observe_vms([access(connection)], {}, False, pools).vms_read == ("esx1",)
    assert (logins(host), host.asked.count("Logout")) == (1, 1)


def test_a_host_whose_answer_never_ends_holds_one_worker_and_every_look_asks_it_anew(host: ScriptedHost, connect: Connect) -> None:
    """Byte by byte: no socket timeout ends it."""
    connection = connect(host.port, timeout=1.0)
    host.replies["RetrievePropertiesEx"] = Trickle
    with Pools() as pools:
        for _look in range(3):
            (seen,), _isolation = observe_hosts([access(connection)], [], AT, pools)
            assert seen.api_answer is ApiAnswer.TIMED_OUT, seen.api_reason
            workers = [thread for thread in threading.enumerate() if thread.name == "look at %s" % (("api", "esx1"),)]
            assert len(workers) <= 1
            for worker in workers:  # cut off, it ends soon
                worker.join(5)
        assert host.asked.count("RetrievePropertiesEx") == 3


def test_a_name_service_that_hangs_holds_one_worker_and_is_no_silence_of_the_host(
    host: ScriptedHost, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, for_real = threading.Event(), socket.getaddrinfo

    def resolve(name: Any, *arguments: Any, **options: Any) -> Any:
        if name == "hangs":
            over.wait(60)
        return for_real(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    connection = connect(host.port, timeout=0.5, hostname="hangs")
    try:
        with Pools() as pools:
            counts = []
            for _look in range(4):
                (seen,), _isolation = observe_hosts([access(connection)], [], AT, pools)
                assert (seen.api, seen.ping) == (Evidence.UNKNOWN, Evidence.UNKNOWN), (seen.api_reason, seen.ping_reason)
                counts.append(sum("esx1" in thread.name for thread in threading.enumerate()))
            assert counts == [3] * 4  # one for the API, one for the ping, and the one that times the name service
    finally:
        over.set()
