# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Opening the state database: its URL, how each connection is set up, its schema created or migrated.

SQLite is used so that a commit that returned has reached the disk (``synchronous=FULL``), so that a reader, also one
that hangs, never holds up a writer (WAL), and so that a writer has the lock from its first statement on
(``BEGIN IMMEDIATE``): what it verified cannot change before it commits.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import libraries
from ..errors import LibrehaError
from ..instant import Instant
from . import lease, schema
from .failures import DatabaseLocation, explained

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Engine

sa = schema.sa
Clock = Callable[[], Instant]
_LOCAL = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Opened:
    """What opening did: ``created`` from nothing, or ``migrated_from`` a version with its ``backup`` (path)."""

    created: bool = False
    migrated_from: int | None = None
    backup: str = ""


def parse(url: str) -> tuple[URL, DatabaseLocation]:
    """Read the URL; raises LibrehaError (which never shows it, it may hold a password)."""
    if sa is None or libraries.too_old("sqlalchemy"):
        raise libraries.unusable("sqlalchemy")
    example = "write sqlite:////absolute/path/state.db or postgresql+psycopg://user:password@host/database"
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except (sa.exc.ArgumentError, ValueError):
        raise LibrehaError("state_url is not a database URL", remedy=example) from None
    if backend == "sqlite":
        path = parsed.database or ""
        if parsed.drivername not in ("sqlite", "sqlite+pysqlite") or parsed.query or parsed.host or not os.path.isabs(path):
            raise LibrehaError("state_url must name an SQLite file by its absolute path, with no parameters", remedy=example)
        return parsed, DatabaseLocation("state database %s" % path, path=path)
    if backend == "postgresql":
        port = ":%d" % parsed.port if parsed.port else ""
        shown = "state database %s on PostgreSQL at %s%s" % (parsed.database or "", parsed.host or "the local socket", port)
        return parsed, DatabaseLocation(shown, secret=parsed.password or "")
    raise LibrehaError("state_url names a database that is not supported: %s" % backend, remedy=example)


def secrets_of(url: str) -> list[str]:
    """What of *url* must not appear in any output."""
    with contextlib.suppress(LibrehaError):
        parsed = parse(url)[0]
        return [value for value in (parsed.password, parsed.query.get("password")) if isinstance(value, str) and value]
    return []


def open_engine(parsed: URL, place: DatabaseLocation, busy_seconds: float, create: bool) -> Engine:
    """The engine with our settings on each connection. With *create*, an SQLite file that is missing is made (empty)."""
    if place.path:
        _require_file(place, create)
        with explained(place, "opening it", system=True):
            place.remember_file()
        # mode=rw: a file that vanishes later must be an error, never silently a new, empty database.
        target = "file:%s?mode=rw" % quote(place.path)
        engine = sa.create_engine(
            "sqlite://",
            creator=lambda: sqlite3.connect(target, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False),
            poolclass=sa.pool.QueuePool,
            hide_parameters=True,
        )
        sa.event.listen(engine, "connect", _set_up_sqlite)
        return engine
    arguments: dict[str, Any] = {"connect_timeout": max(2, int(busy_seconds))}
    if (parsed.host or "") not in _LOCAL and not (parsed.host or "").startswith("/") and "sslmode" not in parsed.query:
        arguments["sslmode"] = "verify-full"  # certificates are verified unless the URL says otherwise
    try:
        engine = sa.create_engine(parsed, connect_args=arguments, pool_pre_ping=True, hide_parameters=True)
    except (ImportError, sa.exc.SQLAlchemyError) as error:
        raise LibrehaError(
            "%s: the driver %s cannot be used: %s" % (place, parsed.drivername, place.hide(str(error))),
            remedy="write postgresql+psycopg:// in state_url; %s" % libraries.remedy("psycopg"),
        ) from None

    def set_up(connection: Any, _record: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = %d" % int(busy_seconds * 1000))
            # A run that is frozen inside a transaction must not hold up its successor: the server ends it.
            cursor.execute("SET idle_in_transaction_session_timeout = %d" % int(busy_seconds * 1000))
            cursor.execute("SET synchronous_commit = on")
        connection.commit()

    sa.event.listen(engine, "connect", set_up)
    return engine


def memory_engine() -> tuple[Engine, DatabaseLocation]:
    """A database in this process' memory, of one connection, with the settings and transactions of an SQLite file."""
    dialect, compiled = _memory_dialect()
    connect: Any = lambda: sqlite3.connect(":memory:", isolation_level=None)  # noqa: E731
    engine = sa.engine.Engine(sa.pool.StaticPool(connect), dialect, sa.engine.make_url("sqlite://"), hide_parameters=True)
    engine.update_execution_options(compiled_cache=compiled)
    sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine, DatabaseLocation("state database in memory")


@cache
def _memory_dialect() -> tuple[Any, dict[Any, Any]]:
    """Shared, with the statements that it has compiled: the simulator opens thousands of such databases in one process."""
    first = sa.create_engine("sqlite://")
    with first.connect():  # which sets the dialect up
        pass
    return first.dialect, {}


def prepare(engine: Engine, place: DatabaseLocation, clock: Clock, create: bool) -> Opened:
    """Create or migrate the schema where needed and allowed by *create*; refuse what is newer than this code, untouched."""
    with explained(place, "reading its version"), engine.connect() as connection:
        version = schema.version_of(connection)
    if version is not None:
        refuse_newer(place, version)
    if version == schema.SCHEMA_VERSION:
        return Opened()
    if not create:
        found = (
            "holds no state yet"
            if version is None
            else "has version %d of the schema, this collection needs %d" % (version, schema.SCHEMA_VERSION)
        )
        raise LibrehaError("%s %s" % (place, found), remedy="run libreha.vmware.ha_state with state: present")
    if version is None and place.path:
        with explained(place, "creating it", system=True):
            _use_wal(engine)
    with explained(place, "creating it" if version is None else "migrating it", system=True), writing(engine) as connection:
        if connection.dialect.name == "postgresql":  # nobody has a row to lock yet
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(4711470001)"))
        version = schema.version_of(connection)  # another process may have been faster
        if version is None:
            schema.create(connection, clock())
            return Opened(created=True)
        refuse_newer(place, version)
        if version == schema.SCHEMA_VERSION:
            return Opened()
        now = clock()
        lease.require_free(lease.read(connection), now, "migrating %s" % place)
        backup = _back_up(engine, place, version, now) if place.path else ""
        schema.migrate(connection, version, now)
        return Opened(migrated_from=version, backup=backup)


def examine(url: str, busy_seconds: float) -> int | None:
    """The version that is there, None where :func:`prepare` would create it; nothing is changed, not even made."""
    parsed, place = parse(url)
    if place.path and not os.path.exists(place.path):
        folder = os.path.dirname(place.path)
        parent = folder if os.path.isdir(folder) else os.path.dirname(folder)
        with explained(place, "looking for it", system=True):
            if not os.access(parent, os.W_OK | os.X_OK):
                os.stat(parent)
                raise PermissionError("%s cannot be written by this user: unable to open database file" % parent)
        return None
    engine = open_engine(parsed, place, busy_seconds, create=False)
    try:
        with explained(place, "reading its version"), engine.connect() as connection:
            version = schema.version_of(connection)
    finally:
        engine.dispose()
    if version is not None:
        refuse_newer(place, version)
    return version


def refuse_newer(place: DatabaseLocation, version: int) -> None:
    if version > schema.SCHEMA_VERSION:
        raise LibrehaError(
            "%s has version %d of the schema, newer than this collection knows (%d); it was not changed"
            % (place, version, schema.SCHEMA_VERSION),
            remedy="install the version of libreha.vmware that wrote it, or a newer one, on every machine that uses this database",
        )


@contextlib.contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that has the write lock from the start."""
    with engine.connect() as connection, connection.begin():
        _begin_sqlite(connection, "BEGIN IMMEDIATE")
        yield connection


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One transaction that reads everything as it is at one moment."""
    options = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        _begin_sqlite(connection, "BEGIN")
        yield connection


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection, statement: str) -> None:
    # Python's sqlite3 would begin by itself, and too late; so it is told not to (isolation_level=None) and we begin here. Not by an event
    # of the engine: with one, SQLAlchemy looks for listeners around each statement.
    driver = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        driver.execute(statement)


def _use_wal(engine: Engine) -> None:
    connection = engine.raw_connection()
    try:
        last = time.monotonic() + 10
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL").fetchone()
                return
            except sqlite3.OperationalError as error:  # SQLite does not wait by itself for this lock
                if "locked" not in str(error) or time.monotonic() > last:
                    raise
                time.sleep(0.05)
    finally:
        connection.close()


def _require_file(place: DatabaseLocation, create: bool) -> None:
    folder = os.path.dirname(place.path)
    if os.path.isdir(place.path):
        raise LibrehaError("%s is a folder" % place, remedy="name a file in state_url")
    if os.path.exists(place.path):
        return
    if not create:
        raise LibrehaError(
            "%s does not exist" % place,
            remedy="run libreha.vmware.ha_state with state: present, or correct state_url; is its file system mounted?",
        )
    with explained(place, "creating it", system=True):
        if not os.path.isdir(folder):
            # Only the last folder is made: a mistyped path or a file system that is not mounted must not become new, empty state.
            os.mkdir(folder, 0o750)
            _sync_folder(os.path.dirname(folder))
        with contextlib.suppress(FileExistsError):
            os.close(os.open(place.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        _sync_folder(folder)


def _back_up(engine: Engine, place: DatabaseLocation, version: int, now: Instant) -> str:
    """Copy the file as it is committed, durably, beside it. The caller holds the write lock, so the copy is the state migrated."""
    stamp = "".join(sign for sign in now.wall[:19] if sign.isalnum()) or "%d" % now.seconds
    backup = "%s.backup-v%d-%s" % (place.path, version, stamp)
    source = engine.raw_connection()
    try:
        os.close(os.open(backup, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        try:
            copy = sqlite3.connect(backup)
            try:
                source.driver_connection.backup(copy)  # type: ignore[union-attr]
            finally:
                copy.close()
            with open(backup, "rb") as written:
                os.fsync(written.fileno())
        except BaseException:
            os.unlink(backup)  # half a backup is none
            raise
        _sync_folder(os.path.dirname(backup))
    finally:
        source.close()
    return backup


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
