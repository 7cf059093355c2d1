# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The certificate that a host's API or its BMC shows: whether it is trusted, and until when it is valid."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import datetime, timezone

try:
    from requests import certs
except ImportError:  # then nothing asks a BMC by Redfish
    certs = None  # type: ignore[assignment]

from .. import clock
from ..addresses import read_url
from ..errors import LibrehaError
from ..fence.interface import PowerDevice
from ..hypervisor.interface import Connection
from ..hypervisor.transport import tls_context

PARTIAL_CHAIN = getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0x80000)  # since Python 3.10
EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED
DAY = 86400.0


@dataclass(frozen=True)
class Certificate:
    """``problem``: why it is not trusted, or that it is not looked at (``verified`` false). ``days_left`` None: not known."""

    address: str  # "192.0.2.11:443"
    verified: bool = True
    problem: str = ""
    days_left: float | None = None


def read_certificate(connection: Connection) -> Certificate:
    """Raises OSError when there is no TLS to be had, LibrehaError when the CA file cannot be used."""
    address = "%s:%d" % (connection.hostname, connection.port)
    if connection.proxy_host:
        raise LibrehaError("it is reached through a proxy, its certificate is not looked at", host=connection.name)
    if not connection.validate_certs:
        text = "its certificate is not verified (validate_certs: false): whoever takes over its address gets the password"
        return Certificate(address, False, text, _days_left(_shown(connection)))
    try:
        with _connected(connection, tls_context(connection)) as tls:
            return Certificate(address, days_left=_days_of(dict(tls.getpeercert() or {})))
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == EXPIRED:
            return Certificate(address, problem="its certificate has expired", days_left=0.0)
        return Certificate(
            address, problem="its certificate is not trusted: %s" % error.verify_message, days_left=_days_left(_shown(connection))
        )


def read_bmc_certificate(device: PowerDevice) -> Certificate | None:
    """Of a Redfish service; None of one without TLS. Raises as :func:`read_certificate`."""
    url = read_url(device.address)
    if url.scheme != "https":
        return None
    trusted = device.ca_path or (certs.where() if certs else None)  # as the library that asks it has it
    connection = Connection(
        device.name, url.host, "", "", port=url.port or 443, validate_certs=device.validate_certs, ca_path=trusted, timeout=device.timeout
    )
    return read_certificate(connection)


def _connected(connection: Connection, context: ssl.SSLContext) -> ssl.SSLSocket:
    raw = socket.create_connection((connection.hostname, connection.port), connection.timeout)
    try:
        return context.wrap_socket(raw, server_hostname=connection.hostname)
    except BaseException:
        raw.close()
        raise


def _shown(connection: Connection) -> bytes:
    """The certificate as it is, whoever signed it (DER)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with _connected(connection, context) as tls:
        return tls.getpeercert(True) or b""


def _days_left(der: bytes) -> float | None:
    """Python's ssl decodes only a certificate that it has verified, so the one field is read here (RFC 5280, 4.1)."""
    try:
        tbs = _elements(_elements(der)[0][1])[0][1]
        # Version (explicit tag 0, absent in version 1), serial number, signature, issuer, validity.
        parts = _elements(tbs)
        validity = parts[4 if parts[0][0] == 0xA0 else 3][1]
        tag, value = _elements(validity)[1]
        text = value.decode("ascii")
        until = datetime.strptime(text, "%y%m%d%H%M%SZ" if tag == 0x17 else "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
    except (IndexError, ValueError):
        return None
    return (until.timestamp() - _now()) / DAY


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each element (X.690, DER). Raises IndexError for what is cut off."""
    found, at = [], 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        if at + length > len(der):
            raise IndexError("an element is cut off")
        found.append((tag, der[at : at + length]))
        at += length
    return found


def _days_of(certificate: dict[str, object]) -> float | None:
    until = certificate.get("notAfter")
    return (ssl.cert_time_to_seconds(until) - _now()) / DAY if isinstance(until, str) else None


def _now() -> float:
    return datetime.fromisoformat(clock.now().wall).timestamp()
