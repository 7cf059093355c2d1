# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Power fencing through Redfish (DMTF DSP0266), on the sushy library.

BMCs close connections that idle without saying so, some within a second (seen with iLO 5), and http.client learns of it by the
request that it loses. So no request is sent on a connection that was used before. A GET whose connection breaks all the same is sent
once more; an order (POST) never is, since it may have been carried out: it is followed by readings, see ``PowerFence.bring``.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any, Callable

from ..decide.machine import Machine
from ..decide.observations import Power
from ..errors import LibrehaError
from ..libraries import unusable
from .interface import AnswerLost, PowerFence

try:
    import sushy
    from requests import exceptions as request_errors
    from sushy import exceptions as sushy_errors
    from sushy.connector import Connector
    from urllib3.exceptions import ProtocolError

    SUSHY_MISSING: ImportError | None = None
except ImportError as error:
    sushy = None
    sushy_errors = None
    Connector = object
    SUSHY_MISSING = error

# sushy writes warnings with the BMC's answers to stderr when nobody configures logging; ours are in the errors raised
logging.getLogger("sushy").addHandler(logging.NullHandler())
logging.getLogger("sushy").propagate = False


class FreshConnector(Connector):
    """sushy's way to the BMC, with a connection for each request. What connected once already is trusted to be there, so a GET that
    is cut off is sent once more."""

    def get(self, *args: Any, **options: Any) -> Any:
        self.close()
        try:
            return super().get(*args, **options)
        except sushy_errors.ConnectionError as error:
            if not _cut_off(error):
                raise
        self.close()
        return super().get(*args, **options)

    def post(self, *args: Any, **options: Any) -> Any:
        """Sent once: sushy would repeat orders that a BMC refuses with certain words."""
        self.close()
        return super().post(*args, server_side_retries_left=0, **options)


def _cut_off(error: Exception) -> bool:
    """Whether a connection was made and then broke: neither refused nor silent, and its certificate accepted."""
    cause = error.__context__
    if isinstance(cause, request_errors.SSLError):
        return "EOF" in str(cause)
    if isinstance(cause, request_errors.ChunkedEncodingError):
        return True
    return isinstance(cause, request_errors.ConnectionError) and bool(cause.args) and isinstance(cause.args[0], ProtocolError)


class NotOffered(LibrehaError):
    """The BMC does not know how to bring about the wanted power."""


class RedfishPower(PowerFence):
    """One system behind one BMC. Connects at the first question; every request has the BMC's timeout."""

    _found: Any = None
    _status: int = 0  # of the last answer

    def read(self) -> Power:
        system = self._system()
        state = self._asking("read its power state", lambda: (system.refresh(force=True), system.power_state)[1])
        return {"On": Power.ON, "Off": Power.OFF}.get(getattr(state, "value", state) or "", Power.UNKNOWN)

    def machine(self) -> Machine:
        system = self._system()
        said = (system.uuid, system.serial_number)
        return Machine(*(value if isinstance(value, str) else "" for value in said))

    def switch(self, wanted: Power, seconds: float) -> None:
        what = "switch it %s" % wanted.value
        system, reset = self._system(), self._reset_for(wanted)
        with self.permit or contextlib.nullcontext():
            if self.permit is not None:
                self.permit.check(what)
            self._asking(what, lambda: system.reset_system(reset), order=True)

    def check(self, *wanted: Power) -> None:
        for power in wanted:
            try:
                self._reset_for(power)
            except NotOffered:
                if wanted != (power,) or self.read() is not power:  # some BMCs do not offer to switch off a machine that is off
                    raise

    def _reset_for(self, wanted: Power) -> Any:
        """Its reset for *wanted*. Raises NotOffered, LibrehaError."""
        kind = "On" if wanted is Power.ON else "ForceOff"
        system = self._system()
        allowed = self._asking("ask which resets it knows", system.get_allowed_reset_system_values)
        reset = sushy.ResetType(kind)
        if reset not in allowed:
            raise NotOffered(
                "the BMC at %s does not offer the reset %s, only %s"
                % (self.device.address, kind, ", ".join(sorted(value.value for value in allowed))),
                host=self.device.name,
                remedy="update the BMC's firmware, or fence this host by storage alone",
            )
        return reset

    def _system(self) -> Any:
        if self._found is None:
            self._found = self._asking("log in", self._connect)
        return self._found

    def _connect(self) -> Any:
        verify: bool | str = self.device.validate_certs
        if verify and self.device.ca_path:
            verify = self.device.ca_path
        connector = FreshConnector(
            self.device.address,
            verify=verify,
            server_side_retries=1,  # sushy takes 0 for 3; retrying is the caller's business
            server_side_retries_delay=0.2,
            default_request_timeout=self.device.timeout,
            connect_timeout=self.device.timeout,
            response_callback=lambda response: setattr(self, "_status", response.status_code),
        )
        root = sushy.Sushy(self.device.address, self.device.username, self.device.password, connector=connector)
        paths = {path.rstrip("/"): path for path in root.get_system_collection().members_identities}
        wanted = self.device.system.rstrip("/")
        found = [path for short, path in paths.items() if wanted in ("", short, short.rsplit("/", 1)[-1])]
        if len(found) != 1:
            raise LibrehaError(
                "the BMC at %s has %s" % (self.device.address, self._choice(wanted, paths)),
                host=self.device.name,
                remedy="set bmc.system to the path or id of this host's system",
                details={"systems": sorted(paths)},
            )
        return root.get_system(found[0])

    @staticmethod
    def _choice(wanted: str, paths: dict[str, str]) -> str:
        known = ", ".join(sorted(paths)) or "none"
        return "no system %s; it has: %s" % (wanted, known) if wanted else "%d systems, not one: %s" % (len(paths), known)

    def _asking(self, what: str, ask: Callable[[], Any], *, order: bool = False) -> Any:
        """Ask the BMC, and turn whatever goes wrong into an error that tells host, act, answer and remedy; no secret.

        An *order* that may have arrived is an AnswerLost.
        """
        if SUSHY_MISSING is not None:
            raise unusable("sushy", SUSHY_MISSING, host=self.device.name)
        self._status = 0
        try:
            return ask()
        except LibrehaError:
            raise
        except Exception as error:
            said = self._in_words(what, error)
            if order and not 400 <= self._status < 500:  # what it answers with 4xx it has not done
                raise AnswerLost(said.message, host=said.host, remedy=said.remedy) from None
            raise said from None

    def _in_words(self, what: str, error: Exception) -> LibrehaError:
        if isinstance(error, sushy_errors.ConnectionError):
            return self._unreachable(what, str(error))
        if self._status in (401, 403):
            return self._error(what, "it refused the login as %s (HTTP %s)" % (self.device.username, self._status), _LOGIN)
        if self._status == 404:
            return self._error(what, "it answers, but not as Redfish (HTTP 404)", "check bmc.address and bmc.system")
        if isinstance(error, sushy_errors.HTTPError):
            return self._error(what, "it answered HTTP %s: %s" % (error.status_code, error.detail or "no detail"), _LOOK)
        if isinstance(error, sushy_errors.SushyError):
            return self._error(what, "its answer cannot be used: %s" % error, _LOOK)
        # No JSON, or JSON of another shape than Redfish's, on which sushy fails in as many ways as there are types.
        text = "it answered HTTP %d with something that is not Redfish (%s: %s)" % (self._status, type(error).__name__, error)
        return self._error(what, text, _LOOK)

    def _unreachable(self, what: str, text: str) -> LibrehaError:
        lower = text.lower()
        if "certificate" in lower:
            return self._error(
                what,
                "its certificate was not accepted",
                "set bmc.ca_path to the authority of its certificate, and bmc.address to a name or address that the certificate is for",
            )
        if "ssl" in lower:
            return self._error(what, "TLS did not come about", "check the port in bmc.address")
        if "timed out" in lower or "timeout" in lower:
            return self._error(what, "no answer in %.0f s" % self.device.timeout, "check the BMC's network and bmc.address")
        if "refused" in lower:
            return self._error(what, "it refused the TCP connection", "check the port in bmc.address, and the BMC")
        if "resolve" in lower or "name or service" in lower or "name resolution" in lower:
            return self._error(what, "its name cannot be resolved", "correct bmc.address")
        return self._error(what, "it cannot be reached: %s" % text, "check the BMC's network and bmc.address")

    def _error(self, what: str, answer: str, remedy: str) -> LibrehaError:
        return LibrehaError("tried to %s at the BMC %s: %s" % (what, self.device.address, answer), host=self.device.name, remedy=remedy)


_LOGIN = "correct bmc.username and bmc.password; the user needs the right to control power"
_LOOK = "look at the BMC's own log; run this again when it works"
