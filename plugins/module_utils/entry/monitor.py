# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The resident monitor as a program: ``python -m ansible_collections.libreha.vmware.plugins.module_utils.entry.monitor --config FILE``.

SIGTERM and SIGINT end it, SIGHUP has it read its configuration anew. Exit codes: 0 after a signal, or with --check when the configuration
is right; 2 when it is wrong; 1 when something else keeps it from its work.
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Optional

from ..cycle.real import HandedSecrets, RealWorld, fork_server
from ..errors import LibrehaError
from ..observe.pools import Pools
from ..service.client import CHAP_SECRET, STEP_DOWN
from ..service.listener import Listener, Taker
from ..service.log import ERROR, Log
from ..service.resident import ResidentMonitor, Setup
from ..service.systemd import Notifier
from .monitor_config import DEFAULT_CONFIG, read_config

WRONG_CONFIG = 2


def main(arguments: Optional[Sequence[str]] = None) -> int:
    options = _arguments().parse_args(arguments)
    log = Log()
    try:
        config = read_config(options.config, options.secrets)
    except LibrehaError as error:
        log.say(ERROR, str(error))
        return WRONG_CONFIG
    if options.check:
        return 0
    # The fork server first, before any thread is started and anything is opened.
    with fork_server() as server, Pools() as pools:
        handed = HandedSecrets()

        def reread() -> Setup:
            found = read_config(options.config, options.secrets)
            return Setup(RealWorld(found.site, server, pools, handed, paced=True), found.heartbeat)

        setup = Setup(RealWorld(config.site, server, pools, handed, paced=True), config.heartbeat)
        monitor = ResidentMonitor(setup, reread, log, Notifier(), incidents=_incidents())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: monitor.stop())
        signal.signal(signal.SIGHUP, lambda _number, _frame: monitor.reload())
        try:
            answers = {"status": monitor.status, "recording": monitor.recording}
            takers: dict[str, Taker] = {CHAP_SECRET: partial(_take_secret, handed), STEP_DOWN: lambda _request: monitor.step_down()}
            listener = Listener(config.socket, answers, takers)
            try:
                monitor.run()
            finally:
                listener.close()
        except LibrehaError as error:
            log.say(ERROR, str(error))
            return 1
    return 0


def _incidents() -> str:
    """Below the folder that systemd made for the service's state (StateDirectory=); nowhere without it."""
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return os.path.join(folder, "incidents") if folder else ""


def _take_secret(handed: HandedSecrets, request: Mapping[str, Any]) -> dict[str, Any]:
    """A new CHAP secret for a host that is let in again. Raises LibrehaError, without the secret."""
    host, secret = request.get("host"), request.get("secret")
    if not (isinstance(host, str) and host and isinstance(secret, str) and secret):
        raise LibrehaError("a new CHAP secret needs a host and a secret, as texts")
    handed.put(host, secret)
    return {"host": host}


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="libreha-monitor", description="Watch the hosts, decide, fence and fail over, for ever.")
    parser.add_argument("--config", default=DEFAULT_CONFIG, help="the configuration, a JSON file (default: %(default)s)")
    parser.add_argument("--secrets", help="its secrets (default: secrets.json of systemd's credentials, or beside the configuration)")
    parser.add_argument("--check", action="store_true", help="check the configuration and do nothing else")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
