"""A TLS server that speaks SOAP from a script: for answers that no simulator gives (another licence, another language,
an unknown question, nonsense, silence in the middle). What esxsim can do is tested against esxsim."""

from __future__ import annotations

import contextlib
import datetime
import re
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Union

from pyVmomi import SoapAdapter, vim, vmodl
from pyVmomi.VmomiSupport import Object, newestVersions

VERSION = newestVersions.Get("vim")
MOMENT = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
SESSION = vim.UserSession(key="s", userName="u", fullName="u", loginTime=MOMENT, lastActiveTime=MOMENT, locale="en", messageLocale="en")
ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>%s'
    "</soapenv:Body></soapenv:Envelope>"
)

Raw = tuple[int, bytes]  # HTTP status and body
Reply = Union[Any, Callable[[], Any]]


class HangUp(Exception):
    """A reply that closes the connection instead of answering."""


class Silence(Exception):
    """A reply that never comes."""


class Trickle(Exception):
    """A reply that comes byte by byte and has no end."""


class ScriptedHost:
    """``replies`` maps a method's name to what it answers: a pyVmomi value, a fault, a Raw, an exception class above,
    or a function that returns one of them. ``asked`` are the methods that were asked, in order."""

    def __init__(self, certificate: Path) -> None:
        self.replies: dict[str, Reply] = {
            "RetrieveServiceContent": content(),
            "Login": SESSION,
            "Logout": None,
        }
        self.asked: list[str] = []
        self.bodies: list[str] = []
        self.connections = 0
        self.closes_after_each = False
        self.over = threading.Event()
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                host.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                match = re.search(r"Body><(\w+)", body)
                method = match.group(1) if match else ""
                host.asked.append(method)
                host.bodies.append(body)
                reply = host.replies.get(method, vmodl.fault.NotSupported(msg="not scripted: %s" % method))
                reply = reply() if callable(reply) and not isinstance(reply, type) else reply
                if reply is Silence:
                    host.over.wait(60)
                if reply is Trickle:
                    self.trickle()
                if reply is Trickle or reply is HangUp or reply is Silence:
                    self.close_connection = True
                    return
                status, payload = reply if isinstance(reply, tuple) else soap(method, reply)
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(payload)))
                if host.closes_after_each:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                self.wfile.write(payload)

            def trickle(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(1 << 20))
                self.end_headers()
                with contextlib.suppress(OSError):
                    while not host.over.wait(0.1):
                        self.wfile.write(b" ")

            def log_message(self, *_arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def finish_request(self, request: Any, client_address: Any) -> None:
                try:
                    request.settimeout(60)
                    request.do_handshake()
                except OSError:
                    return
                super().finish_request(request, client_address)

            def handle_error(self, *_arguments: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def soap(method: str, value: Any) -> Raw:
    if isinstance(value, Exception):
        kind = type(value)._wsdlName
        detail = SoapAdapter.SerializeFaultDetail(value, Object(name=kind + "Fault", type=type(value), version=VERSION, flags=0), VERSION)
        text = "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>%s</faultstring><detail>%s</detail></soapenv:Fault>"
        return 500, (ENVELOPE % (text % (value.msg or "", detail.decode() if isinstance(detail, bytes) else detail))).encode()
    body = ""
    if value is not None:
        body = SoapAdapter.SerializeToStr(value, Object(name="returnval", type=type(value), version=VERSION, flags=0), VERSION)
    return 200, (ENVELOPE % ('<%sResponse xmlns="urn:vim25">%s</%sResponse>' % (method, body, method))).encode()


def content() -> Any:
    about = vim.AboutInfo(
        name="VMware ESXi", fullName="VMware ESXi", vendor="VMware, Inc.", version="8.0.3", build="1", osType="vmnix-x86",
        productLineId="embeddedEsx", apiType="HostAgent", apiVersion="8.0.3.0",
    )  # fmt: skip
    return vim.ServiceInstanceContent(
        about=about,
        rootFolder=vim.Folder("ha-folder-root"),
        propertyCollector=vmodl.query.PropertyCollector("ha-property-collector"),
        sessionManager=vim.SessionManager("ha-sessionmgr"),
        eventManager=vim.event.EventManager("ha-eventmgr"),
    )


def properties(*objects: tuple[Any, dict[str, Any]]) -> Any:
    """What RetrievePropertiesEx returns."""
    collector = vmodl.query.PropertyCollector
    return collector.RetrieveResult(
        objects=[
            collector.ObjectContent(
                obj=reference, propSet=[vmodl.DynamicProperty(name=name, val=value) for name, value in values.items() if value is not None]
            )
            for reference, values in objects
        ]
    )


def task_info(task: Any, state: str, error: Any = None, result: Any = None) -> Any:
    return vim.TaskInfo(
        key=task._moId, task=task, descriptionId="VirtualMachine.powerOn", state=state, cancelled=False, cancelable=False,
        error=vmodl.LocalizedMethodFault(fault=error, localizedMessage=error.msg or "") if error is not None else None,
        result=result, reason=vim.TaskReasonUser(userName="u"), queueTime=MOMENT, eventChainId=1,
    )  # fmt: skip


@contextlib.contextmanager
def listener(answer: bytes | None = None) -> Iterator[int]:
    """A TCP port that accepts; *answer* is sent at once and the connection closed, None stays silent."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        stop = threading.Event()
        kept: list[socket.socket] = []

        def serve() -> None:
            listening.settimeout(0.05)
            while not stop.is_set():
                try:
                    connection, _address = listening.accept()
                except OSError:
                    continue
                kept.append(connection)
                if answer is not None:
                    connection.recv(4096)
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            stop.set()
            thread.join(5)
            for connection in kept:
                connection.close()


@contextlib.contextmanager
def refused_port() -> Iterator[int]:
    """A port that refuses: bound by us, so that nobody else takes it, but not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextlib.contextmanager
def connect_proxy() -> Iterator[tuple[int, list[str]]]:
    """An HTTP proxy that does CONNECT: its port, and the places that were asked for."""
    wanted: list[str] = []

    class Proxy(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            request = b""
            while b"\r\n\r\n" not in request:
                request += self.request.recv(4096)
            place = request.split()[1].decode()
            wanted.append(place)
            address, _colon, port = place.rpartition(":")
            with socket.create_connection((address, int(port))) as onward:
                self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                ends = {self.request: onward, onward: self.request}
                while True:
                    for end in select.select(list(ends), [], [], 60)[0]:
                        data = end.recv(65536)
                        if not data:
                            return
                        ends[end].sendall(data)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: Any) -> None:
            pass

    with Server(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1], wanted
        finally:
            server.shutdown()
            thread.join(5)
