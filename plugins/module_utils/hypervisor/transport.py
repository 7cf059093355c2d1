# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTPS to one host: what each kind of silence or refusal means, and time limits that hold.

pyVmomi brings the SOAP side; connecting is ours, for three reasons. A refusal must be told apart by the phase it came
in (name, TCP, proxy, TLS, certificate), which an exception from deep below does not tell. The time limit must hold for
all addresses of a name together, not for each. And nothing may connect, or connect again, between the check that this
run may still write and the bytes that leave.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import weakref
from http.client import HTTPException, HTTPSConnection
from typing import Any, Callable
from xml.parsers.expat import ExpatError

from .. import clock
from ..addresses import in_url
from ..decide.answers import ApiAnswer
from ..errors import LibrehaError
from ..network import Failure, by_own_routes, failure_of, most_telling
from .bulk_answer import read_answer
from .interface import Connection, HostUnavailable
from .pyvmomi import GetServiceVersions, SoapStubAdapter, soap, versionIdMap, vmodl

# The first request is made in the words of vSphere API 5.5, which every ESXi since then understands. Its answer tells
# the host's own version, which all later requests use: that saves the round trip that fetches the list of versions.
FIRST_VERSION = "vim.version.version9"

# A connection that idled longer is not used again: hosts close idle ones, and a request that is sent into a closed
# connection has an unknown outcome.
IDLE_SECONDS = 5

# Methods with answers of megabytes: properties of all VMs, a page of events.
LARGE_ANSWERS = frozenset(("RetrievePropertiesEx", "ContinueRetrievePropertiesEx", "Fetch"))

CERTIFICATE_REMEDY = (
    "give the CA that signed the host's certificate with ca_path, check that hostname is a name in the certificate, "
    "or set validate_certs to false if you accept any certificate"
)
PROXY_REMEDY = "check proxy_host and proxy_port; the host itself was not asked"


def tls_context(connection: Connection) -> ssl.SSLContext:
    """Verifies chain and host name unless the operator said not to. Raises HostUnavailable for an unusable CA file."""
    if not connection.validate_certs:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    path = connection.ca_path
    try:
        if path and os.path.isdir(path):
            context = ssl.create_default_context(capath=path)
        else:
            context = ssl.create_default_context(cafile=path or None)
    except (OSError, ssl.SSLError) as error:
        raise HostUnavailable(
            "the CA file %s cannot be used: %s" % (path, error),
            answer=ApiAnswer.NOT_ASKED,
            host=connection.name,
            remedy="give a readable file of PEM certificates as ca_path",
        ) from error
    # The certificates that ESXi makes for itself lack extensions that Python 3.13 began to insist on; and such a
    # certificate may be given as its own authority. Chain and host name are verified all the same.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if path:
        context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0x80000)
    return context


class UnreadableAnswer(HTTPException):
    """An answer that came and that pyVmomi cannot make sense of. Half of what was asked for may well be readable."""


UNREADABLE = (UnreadableAnswer, ExpatError)


class HostConnection(HTTPSConnection):
    """One HTTPS connection. Every failure to connect is a HostUnavailable that says in which phase it came."""

    def __init__(self, connection: Connection, context: ssl.SSLContext) -> None:
        if connection.proxy_host:
            super().__init__(connection.proxy_host, connection.proxy_port or 80, timeout=connection.timeout, context=context)
            self.set_tunnel(connection.hostname, connection.port)
        else:
            super().__init__(connection.hostname, connection.port, timeout=connection.timeout, context=context)
        self.connection = connection
        self._phase = "tcp"
        self._twin: socket.socket | None = None  # of the connected socket, for other threads
        self._create_connection: Callable[..., socket.socket] = self._open_tcp

    def connect(self) -> None:
        """Name, TCP, proxy, TLS. Name and TLS get a timeout each, TCP and proxy one together."""
        self._phase = "tcp"
        try:
            super().connect()
        except (OSError, HTTPException, UnicodeError) as error:
            self.close()
            raise self._unavailable(error) from error

    def close(self) -> None:
        twin, self._twin = self._twin, None
        if twin is not None:
            twin.close()
        super().close()

    def cut_off(self) -> None:
        """End the connection from another thread than the one that uses it, which then finds it ended. The socket itself is that thread's,
        and while TLS begins nobody's: so this goes by a second descriptor of it."""
        twin = self._twin
        if twin is not None:
            with contextlib.suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)

    def _open_tcp(self, address: tuple[str, int], timeout: float, source_address: Any = None) -> socket.socket:
        """Like socket.create_connection, but the time limit is for all addresses of the name together.

        It begins when the name is resolved: time that a name server took is none that the host was given to answer in."""
        places = _resolved(address, timeout)
        deadline = clock.now().seconds + timeout
        errors: list[OSError] = []
        for family, kind, protocol, _name, place in places:
            left = deadline - clock.now().seconds
            if left <= 0:
                break
            connected = socket.socket(family, kind, protocol)
            try:
                connected.settimeout(left)
                connected.connect(place)
                connected.settimeout(timeout)
            except OSError as error:
                connected.close()
                errors.append(by_own_routes(error, family, str(place[0])))
                continue
            self._phase = "proxy" if self.connection.proxy_host else "tls"
            self._twin = connected.dup()
            return connected
        raise most_telling(errors) if errors else OSError("this machine was too late to connect")

    def _tunnel(self) -> None:
        """Before Python 3.12, http.client sends an IPv6 address without the brackets that CONNECT demands (RFC 9110, 9.3.6)."""
        self._tunnel_host: str
        bare, self._tunnel_host = self._tunnel_host, in_url(self._tunnel_host)
        try:
            super()._tunnel()  # type: ignore[misc]
        finally:
            self._tunnel_host = bare
        self._phase = "tls"

    def _unavailable(self, error: Exception) -> HostUnavailable:
        connection = self.connection
        where = "%s port %s" % (connection.hostname, connection.port)
        if self._phase != "tls" and connection.proxy_host:
            proxy = "%s:%s" % (in_url(connection.proxy_host), self.port)
            answer = ApiAnswer.NOT_ASKED
            if self._phase == "proxy" and " 504" in str(error):
                answer = ApiAnswer.UNREACHABLE  # the proxy did ask, and got nothing; 502 and 503 may be its own name service
            return HostUnavailable(
                "the proxy %s did not connect us to %s: %s" % (proxy, where, error),
                answer=answer,
                host=connection.name,
                remedy=PROXY_REMEDY,
            )
        if self._phase == "tcp":
            answer, text, remedy = tcp_answer(error)
            return HostUnavailable(
                "%s connecting to %s (%s)" % (text, where, reason_of(error)), answer=answer, host=connection.name, remedy=remedy
            )
        own = own_failure(error)
        if own is not None:
            answer, text, remedy = own
            return HostUnavailable(
                "%s connecting to %s (%s)" % (text, where, reason_of(error)), answer=answer, host=connection.name, remedy=remedy
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            return HostUnavailable(
                "the certificate of %s was not accepted: %s" % (where, error.verify_message or error),
                answer=ApiAnswer.CERTIFICATE_REFUSED,
                host=connection.name,
                remedy=CERTIFICATE_REMEDY,
            )
        if isinstance(error, (socket.timeout, TimeoutError)):
            return HostUnavailable(
                "%s accepted the TCP connection, but TLS did not answer within %g s" % (where, connection.timeout),
                answer=ApiAnswer.TIMED_OUT,
                host=connection.name,
                remedy="look at the host's console: its management agents may hang",
            )
        return HostUnavailable(
            "TCP to %s is connected, but TLS was refused: %s" % (where, reason_of(error)),
            answer=ApiAnswer.TLS_REFUSED,
            host=connection.name,
            remedy="check that port %s is the host's HTTPS API" % connection.port,
        )


class HostStub(SoapStubAdapter):
    """pyVmomi's SOAP adapter on our connections. It never connects or sends again on its own."""

    def __init__(self, connection: Connection) -> None:
        context = tls_context(connection)
        super().__init__(
            host=connection.hostname,
            port=connection.port,
            version=FIRST_VERSION,
            sslContext=context,
            httpConnectionTimeout=connection.timeout,
            connectionPoolTimeout=IDLE_SECONDS,
        )
        # Older versions of pyVmomi open proxies and ports differently; a connection of ours knows where to go.
        self.scheme = lambda *_address, **_options: self._connection(connection, context)
        self._made: weakref.WeakSet[HostConnection] = weakref.WeakSet()
        self.is_cut_off = False
        self.before_bytes: Callable[[], None] | None = None
        self.timeout = connection.timeout
        self.patience: float | None = None  # seconds for an answer, in place of the timeout, while a request is known to take long

    def cut_off(self) -> None:
        """End every connection, also those in use by other threads, and open none any more."""
        self.is_cut_off = True  # first: a connection that is made from now on sees it
        with self.lock:
            made = list(self._made)
        for connected in made:
            connected.cut_off()

    def _connection(self, connection: Connection, context: ssl.SSLContext) -> HostConnection:
        made = HostConnection(connection, context)
        with self.lock:
            self._made.add(made)
        return made

    def speak(self, api_version: str) -> None:
        """Go on in the newest version that both the host ("8.0.3.0") and this library know."""
        host = _numbers(api_version)
        known = [version for version in GetServiceVersions("vim25") if version.startswith("vim.version.")]
        spoken = [version for version in known if _numbers(versionIdMap[version]) <= host]
        if spoken:
            self.ComputeVersionInfo(max(spoken, key=lambda version: _numbers(versionIdMap[version])))

    def InvokeMethod(self, mo: Any, info: Any, args: Any, outerStub: Any = None) -> Any:
        """One round trip. An answer that pyVmomi cannot make sense of is the host's failure, not a defect here."""
        try:
            if info.wsdlName in LARGE_ANSWERS and outerStub is None:
                return self._read_large(mo, info, args)
            return super().InvokeMethod(mo, info, args, outerStub)
        except (OSError, HTTPException, ExpatError, LibrehaError, vmodl.MethodFault):
            raise
        except Exception as error:
            raise UnreadableAnswer("the answer to %s cannot be read: %s: %s" % (info.name, type(error).__name__, error)) from error

    def _read_large(self, mo: Any, info: Any, args: Any) -> Any:
        """What InvokeMethod of pyVmomi does, with an answer that is read faster where it can be. Such a method only reads."""
        request = self.SerializeRequest(mo, info, args)
        connected = self.GetConnection()
        try:
            headers = {"Cookie": self.cookie, "SOAPAction": self.versionId, "Content-Type": "text/xml; charset=utf-8"}
            connected.request("POST", self.path, request, headers)
            answer = connected.getresponse()
            data = answer.read()
            if answer.status not in (200, 500):
                raise HTTPException("%s %s" % (answer.status, answer.reason))
            found = read_answer(data, info.result, self) if answer.status == 200 else None
            if found is None:
                found = soap.SoapResponseDeserializer(self).Deserialize(data, info.result)
        except BaseException:
            connected.close()
            self.DropConnections()
            raise
        self.ReturnConnection(connected)
        if answer.status == 500:
            raise found
        return found

    def GetConnection(self) -> Any:
        """A connection that is up, so that nothing but the request itself remains to be sent."""
        connected = super().GetConnection()
        if self.is_cut_off:
            connected.close()
            raise ConnectionAbortedError("it was given up here")
        if connected.sock is None:  # the host closed it after its last answer; http.client would connect while sending
            connected.connect()
        connected.sock.settimeout(self.patience or self.timeout)
        if self.before_bytes is not None:
            try:
                self.before_bytes()
            except BaseException:
                connected.close()
                raise
        return connected


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def tcp_answer(error: Exception) -> tuple[ApiAnswer, str, str]:
    """What a failure below TLS means: the answer, in words, and what to do."""
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return ApiAnswer.NAME_NOT_RESOLVED, "name not resolved", "check hostname and this machine's name service, or give an address"
    if isinstance(error, ConnectionError):
        return ApiAnswer.REFUSED, "TCP connection refused", "the machine answers but its API does not: check port and the management agents"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return ApiAnswer.TIMED_OUT, "no answer in time", "check that the host runs and that a firewall lets this machine in"
    return own_failure(error) or (ApiAnswer.UNREACHABLE, "nobody answers at its address", "check that the host runs")


def own_failure(error: Exception) -> tuple[ApiAnswer, str, str] | None:
    """The answer, in words, and what to do, where *error* says that this machine itself could not ask; None where it was asked."""
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError):
        return None  # the number in an SSLError is none of the system's
    failure = failure_of(error)
    if failure is Failure.NO_ROUTE:
        return ApiAnswer.NO_ROUTE, "this machine's own network did not let it ask,", "check this machine's routes, addresses and firewall"
    if failure is Failure.NOT_SENT:
        return ApiAnswer.NOT_ASKED, "this machine itself failed", "look what this machine lacks: file descriptors, memory, time"
    return None


def exchange_answer(error: Exception) -> tuple[ApiAnswer, str] | None:
    """What a failure between request and answer means, or None where it is none of the transport's failures."""
    if isinstance(error, HostUnavailable):
        return error.answer, error.message
    if isinstance(error, (socket.timeout, TimeoutError)):
        return ApiAnswer.TIMED_OUT, "no answer in time"
    if isinstance(error, HTTPException):
        return ApiAnswer.BROKEN, "HTTP answer not usable: %s" % reason_of(error)
    own = own_failure(error)
    if own is not None:
        return own[0], "connection lost, %s: %s" % (own[1].rstrip(","), reason_of(error))
    if isinstance(error, OSError):
        silent = not isinstance(error, ssl.SSLError) and failure_of(error) is Failure.SILENT
        return ApiAnswer.UNREACHABLE if silent else ApiAnswer.BROKEN, "connection lost: %s" % reason_of(error)
    if isinstance(error, ExpatError):
        return ApiAnswer.BROKEN, "the answer is not the vSphere API's XML: %s" % error
    return None


def reason_of(error: Exception) -> str:
    """An exception in few words, never empty."""
    text = getattr(error, "strerror", None) or str(error)
    return str(text) or type(error).__name__


def _resolved(address: tuple[str, int], timeout: float) -> list[Any]:
    """What getaddrinfo gives. Raises gaierror also when the name service took longer than *timeout* seconds."""
    began = clock.now().seconds
    places = socket.getaddrinfo(address[0], address[1], 0, socket.SOCK_STREAM)
    took = clock.now().seconds - began
    if took > timeout:
        raise socket.gaierror(socket.EAI_AGAIN, "the name service took %.1f s" % took)
    return places
