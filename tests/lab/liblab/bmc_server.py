"""``python -m liblab.bmc_server STATE_FOLDER NETNS_FD``: Redfish for every host of the lab, by sushy-tools' emulator.

The emulator answers as it does for real clients (TLS, basic authentication, schema); only what a system *is* comes from here:
its power state is whether the host's process is there, and power actions are done by ``lab power``, the same code as faults.
"""

from __future__ import annotations

import logging
import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import flask
from sushy_tools import error
from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources.systems.base import AbstractSystemsDriver
from werkzeug.serving import WSGIRequestHandler, make_server

from . import machines
from .state import Lab, load

ACTIONS = {"On": "on", "ForceOn": "on", "ForceOff": "off", "GracefulShutdown": "off", "ForceRestart": "cycle", "GracefulRestart": "cycle"}
log = logging.getLogger("bmc")


class HostSystems(AbstractSystemsDriver):
    """One system at each BMC's address: the host that it belongs to."""

    def __init__(self, lab: Lab, namespace_fd: int) -> None:
        super().__init__()
        self._path = lab.path
        self._host_at = {bmc.address: lab.host(bmc.host) for bmc in lab.bmcs}
        self._namespace_fd = namespace_fd
        self._boot_device = "Hdd"

    def _host(self) -> Any:
        """The host whose BMC is being asked: the address that the request came to says which."""
        return self._host_at[flask.request.environ["SERVER_NAME"]]

    def _own(self, identity: str) -> Any:
        host = self._host()
        if identity == host.uuid:
            return host
        if identity == host.name:
            raise error.AliasAccessError(host.uuid)
        raise error.NotFound("This BMC has no system '%s'" % identity)

    @property
    def driver(self) -> str:
        return "<libreha lab>"

    @property
    def systems(self) -> list[str]:
        return [self._host().uuid]

    def uuid(self, identity: str) -> str:
        return self._own(identity).uuid

    def name(self, identity: str) -> str:
        return self._own(identity).name

    def get_power_state(self, identity: str) -> str:
        lab = load(self._path)
        if lab is None:
            raise error.FishyError("The lab is gone", 503)
        if machines.has_shut_itself_down(lab, self._own(identity).name):
            self.set_power_state(identity, "ForceOff")
            lab = load(self._path) or lab
        return "Off" if machines.state_word(lab, self._own(identity).name) == "off" else "On"

    def set_power_state(self, identity: str, state: str) -> None:
        host = self._own(identity)
        if state not in ACTIONS:
            raise error.BadRequest("ResetType %s is not supported" % state)
        command = ["nsenter", "--net=/proc/self/fd/%d" % self._namespace_fd, "--", sys.executable, "-m", "liblab", "power", host.name]
        done = subprocess.run(
            [*command, ACTIONS[state]],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            pass_fds=[self._namespace_fd],
            env={**os.environ, "LIBREHA_LAB_DIR": str(self._path)},
        )
        log.info("%s %s: %d %s", host.name, state, done.returncode, done.stderr.strip())
        if done.returncode != 0:
            raise error.FishyError("Power action %s failed: %s" % (state, done.stderr.strip()[-500:]), 500)

    def get_boot_device(self, identity: str) -> str:
        self._own(identity)
        return self._boot_device

    def set_boot_device(self, identity: str, boot_source: str) -> None:
        self._own(identity)
        self._boot_device = boot_source


class QuietHandler(WSGIRequestHandler):
    """One line a request in bmc.log, without colours."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        log.info("%s %s %s -> %s", self.server.server_address[0], self.command, self.path, code)


def serve(lab: Lab, namespace_fd: int) -> None:
    """A server thread for each BMC; each asks for its own host's user and password."""
    app = emulator.app
    app.config["SUSHY_EMULATOR_STATE_DIR"] = str(lab.path / "bmc")
    driver = HostSystems(lab, namespace_fd)
    type(app).systems = property(lambda self: driver)
    plain = app.wsgi_app
    threads = []
    for bmc in lab.bmcs:
        guarded = emulator.RedfishAuthMiddleware(plain, str(lab.path / "bmc" / ("%s.htpasswd" % bmc.host)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*(str(path) for path in lab.tls("bmc-%s" % bmc.host)))
        server = make_server(bmc.address, 443, guarded, threaded=True, request_handler=QuietHandler, ssl_context=context)
        threads.append(threading.Thread(target=server.serve_forever, name=bmc.host, daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    lab = load(Path(sys.argv[1]))
    if lab is None:
        print("no lab in %s" % sys.argv[1], file=sys.stderr)
        return 1
    serve(lab, int(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
