# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Databases for the tests of record: SQLite always, PostgreSQL where the server and psycopg are installed."""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant


class HandClock:
    """A clock that is set by hand; sleeping moves it."""

    def __init__(self, boot_id: str = "boot-1", seconds: float = 1000.0) -> None:
        self.boot_id = boot_id
        self.seconds = seconds
        self.wall = "2026-01-01T00:00:00.000+00:00"

    def __call__(self) -> Instant:
        return Instant(self.boot_id, self.seconds, self.wall)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def reboot(self) -> None:
        self.boot_id += "+"
        self.seconds = 5.0


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return "sqlite:///%s/state.db" % tmp_path


@pytest.fixture(scope="session")
def postgres_server():
    """A PostgreSQL server of our own in a temporary folder: its port."""
    # Debian keeps them out of PATH.
    path = os.pathsep.join([os.environ.get("PATH", ""), *glob.glob("/usr/lib/postgresql/*/bin")])
    programs = {name: shutil.which(name, path=path) for name in ("initdb", "postgres")}
    if not all(programs.values()) or importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL (initdb, postgres) or psycopg is not installed")
    folder = tempfile.mkdtemp(prefix="libreha-pg-")
    user = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.geteuid() == 0 else {}  # it refuses to run as root
    if user:
        shutil.chown(folder, user="nobody")
    data = folder + "/data"
    subprocess.run(
        [programs["initdb"], "-D", data, "-A", "trust", "-U", "libreha", "--no-sync"], check=True, stdout=subprocess.DEVNULL, **user
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Our processes are killed and frozen here, the server and its machine are not: nothing depends on what reaches the disk.
    durability = [word for name in ("fsync", "synchronous_commit", "full_page_writes") for word in ("-c", "%s=off" % name)]
    command = [programs["postgres"], "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", folder, *durability]
    with open(folder + "/log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, **user)
    try:
        _await_server(server, port, folder + "/log")
        yield port
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: int):
    import psycopg

    with psycopg.connect(host="127.0.0.1", port=postgres_server, user="libreha", dbname="postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS state WITH (FORCE)")
        connection.execute("CREATE DATABASE state")
    return "postgresql+psycopg://libreha:unused-password@127.0.0.1:%d/state" % postgres_server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


def _await_server(server: subprocess.Popen, port: int, log: str) -> None:
    import psycopg

    for _attempt in range(600):
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(host="127.0.0.1", port=port, user="libreha", dbname="postgres").close()
            return
        if server.poll() is not None:
            break
        time.sleep(0.2)
    pytest.fail("PostgreSQL did not start: %s" % Path(log).read_text())
