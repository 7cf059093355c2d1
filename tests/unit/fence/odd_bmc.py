"""A BMC with faults as real ones have them: a small HTTPS server on loopback that speaks just enough Redfish.

It forgets connections without saying so in its answer; refuses or drops orders; and gives answers of another shape.
"""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.libreha.vmware.plugins.module_utils.fence.interface import PowerDevice

ROOT, SYSTEMS, ONE = "/redfish/v1/", "/redfish/v1/Systems", "/redfish/v1/Systems/1"
RESET = ONE + "/Actions/ComputerSystem.Reset"
UUID = "4c4c4544-0051-3310-8057-b7c04f4a3332"
USER, PASSWORD = "ha", "correct horse battery"


class OddBmc:
    """``power`` is the machine's; ``asked`` the resets that arrived, ``requests`` all requests as "METHOD path"."""

    def __init__(self, certificate: Path, key: Path, address: str = "127.0.0.1") -> None:
        self.power = "On"
        self.asked: list[str] = []
        self.requests: list[str] = []
        self.allowed = ["On", "ForceOff"]
        self.forgets_connections = False  # the second request on a connection is lost
        self.cuts: dict[str, int] = {}  # "METHOD path" -> how many of them it takes in and answers with a closed connection
        self.cuts_after_order = 0  # the same of readings, from the next order on
        self.obeys = True
        self.loses_orders = False  # an order that it cuts is not carried out either
        self.reset_answer: tuple[int, Any] = (204, None)
        self.stale = ""  # what it says of the power until an order arrives, whatever is so
        self.bodies: Mapping[str, Any] = {}  # path -> a body in place of the right one
        self.status: Mapping[str, int] = {}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = _Server(address, context, self)
        self.port = self._server.server_address[1]
        self.address = "https://%s:%d" % ("[%s]" % address if ":" in address else address, self.port)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def bmc(self, **changes: Any) -> PowerDevice:
        given = {"name": "esx1", "address": self.address, "username": USER, "password": PASSWORD, "validate_certs": False, "timeout": 3.0}
        return PowerDevice(**{**given, **changes})

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any] | None:
        """Status and body; None for a connection that is closed instead."""
        asked = "%s %s" % (method, path)
        self.requests.append(asked)
        cut = self.cuts.get(asked, 0) > 0
        self.cuts[asked] = self.cuts.get(asked, 0) - 1
        if method == "POST" and path == RESET:
            self._order(json.loads(body)["ResetType"], carried_out=not (cut and self.loses_orders))
            return None if cut else self.reset_answer
        if cut:
            return None
        if "Session" in path:
            return 404, {"error": {"message": "no sessions here"}}
        return self.status.get(path, 200), self.bodies[path] if path in self.bodies else self._resource(path)

    def _order(self, kind: str, *, carried_out: bool) -> None:
        self.asked.append(kind)
        self.stale = ""
        self.cuts["GET " + ONE] = self.cuts_after_order
        if self.reset_answer[0] < 400 and self.obeys and carried_out:
            self.power = {"On": "On", "ForceOff": "Off"}[kind]

    def _resource(self, path: str) -> Any:
        if path == ROOT:
            return {"@odata.id": ROOT, "Id": "Root", "Name": "Root", "RedfishVersion": "1.6.0", "Systems": {"@odata.id": SYSTEMS}}
        if path == SYSTEMS:
            return {"@odata.id": SYSTEMS, "Name": "Systems", "Members": [{"@odata.id": ONE}], "Members@odata.count": 1}
        if path == ONE:
            return self.system()
        return {"error": {"message": "no such thing"}}

    def system(self) -> dict[str, Any]:
        reset = {"target": RESET, "ResetType@Redfish.AllowableValues": self.allowed}
        about = {
            "@odata.id": ONE,
            "Id": "1",
            "Name": "esx1",
            "UUID": UUID,
            "SerialNumber": "5Q3W2J2",
            "PowerState": self.stale or self.power,
        }
        return {**about, "Actions": {"#ComputerSystem.Reset": reset}}


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: str, context: ssl.SSLContext, bmc: OddBmc) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.context, self.bmc = context, bmc
        super().__init__((address, 0), _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are no news."""


class _Connection(socketserver.BaseRequestHandler):
    """One connection, on which requests follow each other. The answers never say ``Connection: close``."""

    server: _Server

    def handle(self) -> None:
        self.request.settimeout(10)
        with self.server.context.wrap_socket(self.request, server_side=True) as channel:
            channel.settimeout(10)
            lines = channel.makefile("rb")
            while self._one(lines, channel):
                if self.server.bmc.forgets_connections:
                    lines.readline()  # what comes next is lost
                    return

    def _one(self, lines: Any, channel: ssl.SSLSocket) -> bool:
        first = lines.readline().decode().split()
        if len(first) < 3:
            return False
        headers = {}
        for line in iter(lines.readline, b"\r\n"):
            name, _colon, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        body = lines.read(int(headers.get("content-length", 0)))
        answer = self.server.bmc.answer(first[0], first[1], body)
        if answer is None:
            return False
        status, content = answer
        text = b"" if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
        head = "HTTP/1.1 %d Odd\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(text))
        channel.sendall(head.encode() + text)
        return True
