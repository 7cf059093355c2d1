# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's own certificate as the file that its API is verified with, written when a person has compared its fingerprint.

The file holds the certificate itself and not who signed it: it is then its own authority (RFC 5280 knows a trust anchor, and OpenSSL's
partial chains take any certificate as one), and whatever else that authority signs is not trusted for this host.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import ssl
import tempfile
from dataclasses import dataclass, replace
from typing import Any

from ..errors import LibrehaError
from ..hypervisor.interface import Connection
from ..hypervisor.transport import tls_context
from ..storage import durable

ON_THE_HOST = "openssl x509 -in /etc/vmware/ssl/rui.crt -noout -fingerprint -sha256"
HEXADECIMAL = re.compile(r"[0-9A-F]{64}")


@dataclass(frozen=True)
class Shown:
    """``pem`` is the certificate that the host shows. Of one that does not hold even as its own authority (expired, or for other names
    than this) ``problem`` says why."""

    pem: str
    fingerprint: str  # "AB:CD:...", SHA-256
    names: tuple[str, ...]
    subject: str
    issuer: str
    valid_until: str
    problem: str = ""


def read_fingerprint(given: str) -> str:
    """SHA-256 in any usual spelling ("SHA256 Fingerprint=ab:cd...") as "AB:CD:...". Raises LibrehaError."""
    digits = re.sub(r"[:\s]", "", given.rpartition("=")[2]).upper()
    if not HEXADECIMAL.fullmatch(digits):
        raise LibrehaError(
            "the fingerprint %r is no SHA-256 fingerprint, which has 64 hexadecimal digits" % given,
            remedy="read it on the host's own console: %s" % ON_THE_HOST,
        )
    return _spelled(digits)


def _spelled(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def fetch(connection: Connection) -> Shown:
    """What the host shows now. Nothing is sent to it. Raises LibrehaError when there is no TLS to be had."""
    der = _certificate(connection, tls_context(replace(connection, validate_certs=False)))
    pem = ssl.DER_cert_to_PEM_cert(der)
    shown = Shown(pem, _spelled(hashlib.sha256(der).hexdigest().upper()), (), "", "", "")
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        anchored = tls_context(replace(connection, validate_certs=True, ca_path=file.name))
        anchored.check_hostname = False
        try:
            decoded = _decoded(connection, anchored)
        except ssl.SSLCertVerificationError as error:
            return replace(shown, problem=error.verify_message)
        anchored.check_hostname = True
        problem = ""
        try:
            _decoded(connection, anchored)
        except ssl.SSLCertVerificationError as error:
            problem = error.verify_message
    return replace(
        shown,
        names=tuple(str(value) for _kind, value in decoded.get("subjectAltName", ())),
        subject=_distinguished(decoded.get("subject", ())),
        issuer=_distinguished(decoded.get("issuer", ())),
        valid_until=str(decoded.get("notAfter", "")),
        problem=problem,
    )


def _certificate(connection: Connection, context: ssl.SSLContext) -> bytes:
    with _connected(connection, context) as tls:
        return tls.getpeercert(True) or b""


def _decoded(connection: Connection, context: ssl.SSLContext) -> dict[str, Any]:
    with _connected(connection, context) as tls:
        return dict(tls.getpeercert() or {})


def _connected(connection: Connection, context: ssl.SSLContext) -> ssl.SSLSocket:
    place = "%s port %d" % (connection.hostname, connection.port)
    try:
        raw = socket.create_connection((connection.hostname, connection.port), connection.timeout)
        try:
            return context.wrap_socket(raw, server_hostname=connection.hostname)
        except BaseException:
            raw.close()
            raise
    except ssl.SSLCertVerificationError:
        raise
    except OSError as error:
        raise LibrehaError(
            "%s shows no certificate: %s" % (place, error), host=connection.name, remedy="check hostname and port, and that the host runs"
        ) from error


def _distinguished(parts: Any) -> str:
    return ", ".join("%s=%s" % (key, value) for part in parts for key, value in part)


def set_up(connection: Connection, path: str | None, fingerprint: str | None, check_mode: bool) -> dict[str, Any]:
    """The module's result. Raises LibrehaError; details have what the host shows, so that a person can compare."""
    expected = read_fingerprint(fingerprint) if fingerprint else None
    shown = fetch(connection)
    held = _held(path)
    found = {
        "fingerprint": shown.fingerprint,
        "certificate": shown.pem,
        "names": list(shown.names),
        "subject": shown.subject,
        "issuer": shown.issuer,
        "valid_until": shown.valid_until,
        "trusted": held == shown.fingerprint and not shown.problem,
    }
    if path is None and expected is None:
        return {"changed": False, "diff": {"before": {}, "after": {}}, **found}
    refusal = _refusal(connection, shown, expected, held)
    if refusal:
        raise LibrehaError(refusal[0], host=connection.name, remedy=refusal[1], details=found)
    changed = path is not None and held != shown.fingerprint
    if path is not None and changed and not check_mode:
        _write(path, shown.pem, connection.name)
    diff = {"before": {"path": path, "fingerprint": held}, "after": {"path": path, "fingerprint": shown.fingerprint if path else held}}
    return {"changed": changed, "diff": diff, **found, "trusted": True}


def _refusal(connection: Connection, shown: Shown, expected: str | None, held: str | None) -> tuple[str, str] | None:
    """Why the certificate is not taken, and what to do; None: it is."""
    if expected is None and held != shown.fingerprint:
        was = "it is not the one in the file (%s)" % held if held else "nobody has said that it is the host's"
        return (
            "the host shows a certificate with the SHA-256 fingerprint %s, and %s: nothing was written" % (shown.fingerprint, was),
            "compare it with what the host says on its own console (%s); when they are equal, give it as fingerprint" % ON_THE_HOST,
        )
    if expected is not None and expected != shown.fingerprint:
        return (
            "the host shows a certificate with the SHA-256 fingerprint %s, and not %s: nothing was written" % (shown.fingerprint, expected),
            "either the host has a new one: read its fingerprint on its own console (%s); or another machine answers in its place"
            % ON_THE_HOST,
        )
    if shown.problem:
        names = ", ".join(shown.names) or "none"
        return (
            "the certificate cannot be verified under %s: %s (its names: %s)" % (connection.hostname, shown.problem, names),
            "reach the host by a name in its certificate (DNS, or the arbiter's /etc/hosts), or make a new one: generate-certificates",
        )
    return None


def _held(path: str | None) -> str | None:
    """The fingerprint of the one certificate in the file. Another content counts as none: it is replaced by what is confirmed."""
    if path is None or not os.path.exists(path):
        return None
    try:
        with open(path, encoding="ascii") as file:
            return _spelled(hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest().upper())
    except (OSError, ValueError):
        return None


def _write(path: str, pem: str, host: str) -> None:
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise LibrehaError(
            "%s cannot be written: there is no folder %s" % (path, folder), host=host, remedy="make its folder, or correct path"
        )
    durable.replace(path, pem.encode("ascii"), mode=0o644)
