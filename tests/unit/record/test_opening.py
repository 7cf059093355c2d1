# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Opening, creating and migrating the database, and everything that can be wrong with it."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.record import opening, schema
from ansible_collections.libreha.vmware.plugins.module_utils.record.database import LeaseHeld, StateDatabase

NOBODY = 65534
NOW = schema.SCHEMA_VERSION
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def as_nobody(function, *arguments) -> str:
    """What *function* raised as text, run by a user without rights; empty when nothing."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def run() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            function(*arguments)
            sender.send("")
        except LibrehaError as error:
            sender.send(str(error))

    process = context.Process(target=run)
    process.start()
    assert receiver.poll(30)
    process.join(30)
    return receiver.recv()


def open_and_close(url: str) -> None:
    StateDatabase.open(url).close()


def test_a_missing_database_is_created_once(url):
    with StateDatabase.open(url) as state:
        assert state.opened.created
    with StateDatabase.open(url) as state:
        assert not state.opened.created
    assert StateDatabase.examine(url) == schema.SCHEMA_VERSION


def test_the_file_and_its_folder_are_only_for_the_owner(tmp_path):
    with StateDatabase.open("sqlite:///%s/new/state.db" % tmp_path):
        assert (tmp_path / "new" / "state.db").stat().st_mode & 0o077 == 0
        assert (tmp_path / "new").stat().st_mode & 0o007 == 0


def test_commits_reach_the_disk_and_readers_do_not_hold_up_writers(sqlite_url):
    with StateDatabase.open(sqlite_url) as state, state._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        connection.exec_driver_sql("SELECT * FROM ha_lease").all()  # a reader in the midst of its transaction
        assert state.acquire_lease("a", 60).token == 1


def test_a_folder_of_folders_is_not_made_up(tmp_path):
    with pytest.raises(LibrehaError, match="No such file"):
        StateDatabase.open("sqlite:///%s/not/mounted/state.db" % tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_create_a_missing_database_is_an_error_and_nothing_is_made(sqlite_url, tmp_path):
    with pytest.raises(LibrehaError, match="does not exist") as caught:
        StateDatabase.open(sqlite_url, create=False)
    assert "mounted" in caught.value.remedy
    assert StateDatabase.examine(sqlite_url) is None
    assert list(tmp_path.iterdir()) == []


@as_root
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o755)
    for parent in (tmp_path, *list(tmp_path.parents)[:2]):
        parent.chmod(0o755)
    for attempt in (open_and_close, StateDatabase.examine):
        said = as_nobody(attempt, "sqlite:///%s/state.db" % folder)
        assert str(folder) in said and "Remedy" in said and ("denied" in said or "cannot be" in said), said


@as_root
def test_a_file_that_may_only_be_read_is_named(tmp_path):
    url = "sqlite:///%s/state.db" % tmp_path
    for parent in (tmp_path, *list(tmp_path.parents)[:2]):
        parent.chmod(0o755)
    open_and_close(url)
    (tmp_path / "state.db").chmod(0o644)

    def write() -> None:
        with StateDatabase.open(url) as state:
            state.acquire_lease("a", 60)

    said = as_nobody(write)
    assert "state.db" in said and "Remedy" in said and ("may not be written" in said or "cannot be opened" in said), said


@pytest.mark.parametrize("content", [b"this is a text, and not a short one" * 100, b"SQLite format 3\x00" + b"\xff" * 8000])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path, sqlite_url, content):
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(LibrehaError, match="not an SQLite database|damaged") as caught:
        StateDatabase.open(sqlite_url)
    assert caught.value.remedy
    assert path.read_bytes() == content


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    with pytest.raises(LibrehaError, match="is a folder"):
        StateDatabase.open("sqlite:///%s" % tmp_path)


def test_damage_in_the_middle_of_the_file_is_an_error(tmp_path, sqlite_url):
    with StateDatabase.open(sqlite_url) as state:
        token = state.acquire_lease("a", 60).token
        state.save_memory({"much": ["text"] * 5000}, token)
    path = tmp_path / "state.db"
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(LibrehaError, match="damaged"), StateDatabase.open(sqlite_url) as state:
        state.snapshot()


def test_somebody_elses_database_is_refused_untouched(tmp_path, sqlite_url):
    path = tmp_path / "state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE invoices (id INTEGER)")
    connection.close()
    before = digest(path)
    with pytest.raises(LibrehaError, match="invoices"):
        StateDatabase.open(sqlite_url)
    assert digest(path) == before


def test_a_newer_schema_is_refused_untouched(tmp_path, url):
    open_and_close(url)
    set_version(url, schema.SCHEMA_VERSION + 1)
    before = digest(tmp_path / "state.db") if url.startswith("sqlite") else ""
    for attempt in (StateDatabase.open, StateDatabase.examine):
        with pytest.raises(LibrehaError, match="newer than this collection"):
            attempt(url)
    if before:
        assert digest(tmp_path / "state.db") == before


@pytest.fixture
def next_version(monkeypatch):
    """A collection that is one version ahead: its migration adds a column."""

    def add_column(connection) -> None:
        connection.execute(sa.text("ALTER TABLE ha_hosts ADD COLUMN rack TEXT"))

    monkeypatch.setattr(schema, "SCHEMA_VERSION", NOW + 1)
    monkeypatch.setitem(schema.MIGRATIONS, NOW, add_column)


def filled(url: str, clock) -> None:
    with StateDatabase.open(url, clock=clock) as state:
        token = state.acquire_lease("a", 60).token
        state.save_memory({"kept": True}, token)
        state.release_lease("a", token)


def test_an_older_schema_is_migrated_after_a_backup(tmp_path, sqlite_url, clock, request):
    filled(sqlite_url, clock)
    request.getfixturevalue("next_version")
    with StateDatabase.open(sqlite_url, clock=clock) as state:
        assert state.opened.migrated_from == NOW
        assert state.load_memory() == {"kept": True}
        backup = Path(state.opened.backup)
    assert backup.parent == tmp_path and backup.name.startswith("state.db.backup-v%d-" % NOW)
    assert backup.stat().st_mode & 0o077 == 0
    with sqlite3.connect("file:%s?mode=ro" % backup, uri=True) as copy:
        assert copy.execute("SELECT version FROM ha_schema").fetchone() == (NOW,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert "rack" not in str(copy.execute("PRAGMA table_info(ha_hosts)").fetchall())
        assert copy.execute("SELECT document FROM ha_memory").fetchone() == ('{"kept": true}',)
    copy.close()
    with StateDatabase.open(sqlite_url, clock=clock) as state:
        assert state.opened.migrated_from is None


def test_on_postgresql_an_older_schema_is_migrated_in_one_transaction(postgres_url, clock, monkeypatch, request):
    filled(postgres_url, clock)
    request.getfixturevalue("next_version")
    add_column = schema.MIGRATIONS[NOW]

    def broken(connection) -> None:
        add_column(connection)
        connection.execute(sa.text("SELECT * FROM nowhere"))

    monkeypatch.setitem(schema.MIGRATIONS, NOW, broken)
    with pytest.raises(LibrehaError, match="migrating"):
        StateDatabase.open(postgres_url, clock=clock)
    monkeypatch.setitem(schema.MIGRATIONS, NOW, add_column)  # would fail if the column had stayed
    with StateDatabase.open(postgres_url, clock=clock) as state:
        assert state.opened.migrated_from == NOW
        assert state.load_memory() == {"kept": True}


def test_a_migration_that_fails_changes_nothing(tmp_path, sqlite_url, clock, monkeypatch, request):
    filled(sqlite_url, clock)
    request.getfixturevalue("next_version")
    add_column = schema.MIGRATIONS[NOW]

    def broken(connection) -> None:
        add_column(connection)
        raise LibrehaError("stopped in the middle")

    monkeypatch.setitem(schema.MIGRATIONS, NOW, broken)
    with pytest.raises(LibrehaError, match="middle"):
        StateDatabase.open(sqlite_url, clock=clock)
    with sqlite3.connect(tmp_path / "state.db") as connection:
        assert connection.execute("SELECT version FROM ha_schema").fetchone() == (NOW,)
        assert "rack" not in str(connection.execute("PRAGMA table_info(ha_hosts)").fetchall())
    connection.close()


def test_a_migration_waits_for_no_run_it_is_refused_while_one_holds_the_lease(tmp_path, url, clock, request):
    with StateDatabase.open(url, clock=clock) as state:
        state.acquire_lease("run-7", 60)
    request.getfixturevalue("next_version")
    with pytest.raises(LeaseHeld, match="run-7"):
        StateDatabase.open(url, clock=clock)
    assert not list(tmp_path.glob("*.backup-*"))
    clock.seconds += 61
    with StateDatabase.open(url, clock=clock) as state:
        assert state.opened.migrated_from == NOW


def test_without_create_an_older_schema_is_not_migrated(tmp_path, sqlite_url, clock, request):
    filled(sqlite_url, clock)
    request.getfixturevalue("next_version")
    with pytest.raises(LibrehaError, match="version %d of the schema, this collection needs %d" % (NOW, NOW + 1)):
        StateDatabase.open(sqlite_url, create=False)
    assert StateDatabase.examine(sqlite_url) == NOW
    assert not list(tmp_path.glob("*.backup-*"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 512 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "libreha-test", str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    with open(folder / "filler", "wb", buffering=0) as filler:
        for size in (4096, 64):
            while True:
                try:
                    filler.write(b"x" * size)
                except OSError:
                    break


def test_on_a_full_disk_a_write_fails_clearly_and_leaves_nothing_half_written(small_disk):
    with StateDatabase.open("sqlite:///%s/state.db" % small_disk) as state:
        token = state.acquire_lease("a", 600).token
        state.save_memory({"small": True}, token)
        before = state.snapshot()
        with pytest.raises(LibrehaError, match="disk is full") as caught, state.change(token) as change:
            change.journal([{"kind": "step", "text": "before the big one"}])
            change.memory({"big": "x" * 1_000_000})
        assert "free space" in caught.value.remedy
        after = state.snapshot()
        for found in (before, after):
            found["lease"].pop("remaining")
        assert after == before
        state.save_memory({"small": 2}, token)  # and it goes on when there is room
    with sqlite3.connect(small_disk / "state.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_creating_on_a_full_disk_fails_clearly_and_works_once_there_is_room(small_disk):
    fill(small_disk)
    url = "sqlite:///%s/state.db" % small_disk
    with pytest.raises(LibrehaError, match="disk is full|No space|disk failed") as caught:
        StateDatabase.open(url)
    assert "free space" in str(caught.value) or "file system" in str(caught.value)
    (small_disk / "filler").unlink()
    with StateDatabase.open(url) as state:
        assert state.acquire_lease("a", 60).token == 1


def test_a_migration_without_room_for_the_backup_changes_nothing(small_disk, clock, request):
    url = "sqlite:///%s/state.db" % small_disk
    filled(url, clock)
    with StateDatabase.open(url, clock=clock) as older:  # open: so that the migration gets as far as the backup
        older.lease()
        request.getfixturevalue("next_version")
        fill(small_disk)
        with pytest.raises(LibrehaError, match="disk is full"):
            StateDatabase.open(url, clock=clock)
    assert not list(small_disk.glob("*.backup-*"))
    (small_disk / "filler").unlink()
    with StateDatabase.open(url, clock=clock) as state:
        assert state.opened.migrated_from == NOW and state.load_memory() == {"kept": True}


HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(60)
"""


def test_a_database_locked_too_long_names_the_process_that_has_it(tmp_path, sqlite_url):
    with StateDatabase.open(sqlite_url, busy_seconds=0.2) as state:
        token = state.acquire_lease("a", 60).token
        holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "state.db")], stdout=subprocess.PIPE, text=True)
        try:
            assert holder.stdout.readline() == "held\n"
            os.kill(holder.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, holder.pid, os.WSTOPPED)
            with pytest.raises(LibrehaError, match="locked by another process") as caught:
                state.save_memory({}, token)
            assert "process %d (python" % holder.pid in str(caught.value) and "stopped" in str(caught.value)
            assert state.check_lease(token) > 0  # reading goes on
        finally:
            holder.kill()
            holder.wait()
        state.save_memory({}, token)


def test_a_file_that_was_replaced_while_open_is_noticed(tmp_path, sqlite_url):
    with StateDatabase.open(sqlite_url) as state:
        token = state.acquire_lease("a", 60).token
        (tmp_path / "state.db").unlink()
        for attempt in (lambda: state.save_memory({}, token), lambda: state.check_lease(token)):
            with pytest.raises(LibrehaError, match="removed or replaced"):
                attempt()
        assert not (tmp_path / "state.db").exists()


def test_a_file_that_vanishes_is_never_made_anew_by_a_later_connection(tmp_path, sqlite_url):
    open_and_close(sqlite_url)
    engine = opening.open_engine(*opening.parse(sqlite_url), busy_seconds=1, create=True)
    (tmp_path / "state.db").unlink()
    with pytest.raises(sa.exc.OperationalError):
        engine.connect()
    assert list(tmp_path.iterdir()) == []


def test_an_unreachable_server_is_an_error_that_does_not_show_the_password():
    pytest.importorskip("psycopg")
    with pytest.raises(LibrehaError, match=r"PostgreSQL at 127\.0\.0\.1:1") as caught:
        StateDatabase.open("postgresql+psycopg://libreha:hunter2@127.0.0.1:1/state")
    assert caught.value.remedy and "hunter2" not in str(caught.value)


def test_a_server_elsewhere_must_prove_who_it_is():
    pytest.importorskip("psycopg")
    asked = {}

    def stop(_dialect, _record, _arguments, options) -> None:
        asked.update(options)
        raise LibrehaError("enough")

    for url in (
        "postgresql+psycopg://libreha:hunter2@db.example/state",
        "postgresql+psycopg://libreha:hunter2@db.example/state?sslmode=require",
    ):
        engine = opening.open_engine(*opening.parse(url), busy_seconds=2, create=False)
        sa.event.listen(engine, "do_connect", stop)
        with pytest.raises(LibrehaError, match="enough"):
            engine.connect()
        assert asked["sslmode"] == ("require" if "require" in url else "verify-full")


@pytest.mark.parametrize(
    "bad",
    [
        "not a url hunter2",
        "postgresql+psycopg//libreha:hunter2@host/db",
        "mysql://libreha:hunter2@host/db",
        "sqlite://",
        "sqlite:///relative/hunter2.db",
        "sqlite:////tmp/state.db?mode=hunter2",
        "sqlite+aiosqlite:////tmp/hunter2.db",
        "postgresql+nosuchdriver://libreha:hunter2@host/db",
        "postgresql+psycopg://libreha:hunter2@host:port/db",
    ],
)
def test_a_bad_url_is_refused_without_being_shown(bad):
    with pytest.raises(LibrehaError) as caught:
        StateDatabase.open(bad)
    assert caught.value.remedy
    assert "hunter2" not in str(caught.value)
    chain = caught.value.__cause__
    assert "hunter2" not in str(chain)


def set_version(url: str, version: int) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ha_schema SET version = %d" % version))
    engine.dispose()
