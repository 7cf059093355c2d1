"""A real sshd on 127.0.0.1 with its own configuration and keys, and the role storage_access that sets an arbiter's access up there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.libreha.vmware.plugins.module_utils.storage.server import ServerAccess, Ssh
from real_storage import Storage, until

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATION = """\
ListenAddress 127.0.0.1
Port %(port)d
HostKey %(folder)s/host_key
AuthorizedKeysFile %(folder)s/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
LogLevel VERBOSE
"""


def ssh_keygen(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


class Sshd:
    """It admits the key "ansible", as a person's machine has it, and whatever the role adds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        ssh_keygen(folder / "host_key")
        shutil.copy(ssh_keygen(folder / "ansible").with_suffix(".pub"), folder / "authorized_keys")
        (folder / "sshd_config").write_text(CONFIGURATION % {"port": self.port, "folder": folder})
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.start()

    def start(self) -> None:
        with open(self.folder / "log", "ab") as log:
            words = ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(self._listens, "sshd listens")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def logins(self) -> int:
        return self.log().count("Accepted publickey")

    def sessions(self) -> list[int]:
        """The processes of its connections, and what runs in them."""
        found: list[int] = []
        wanted = [self.process.pid]
        while wanted:
            with contextlib.suppress(OSError):
                pid = wanted.pop()
                wanted += map(int, Path("/proc/%d/task/%d/children" % (pid, pid)).read_text().split())
                found.append(pid)
        return found[1:]

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        pids = [self.process.pid, *self.sessions()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def cut(self) -> None:
        """End every connection, as a restart of the machine does."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.sessions(), "its connections are gone")

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.cut()


class RemoteServer:
    """The storage server san2, with a real tgtd, behind a real sshd; the arbiter "san1" is this machine as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sockets = Path(tempfile.mkdtemp(prefix="ssh")) / "s"  # the path of a socket must be short
        for name in ("san2", "sshd"):
            (folder / name).mkdir()
        self.storage = Storage(folder / "san2").start()
        self.sshd = Sshd(folder / "sshd")
        self.keys = folder / "arbiter"
        self.ssh = Ssh(
            "127.0.0.1", "root", self.sshd.port, str(self.keys / "fence"), str(self.keys / "unfence"), str(self.keys / "known_hosts")
        )
        self.access = ServerAccess(
            "san2", "tgt", self.storage.control_port, str(self.storage.saved), str(self.storage.list_path), 5.0, self.ssh
        )
        self._inventory()

    def _inventory(self) -> None:
        here = {"ansible_python_interpreter": sys.executable}
        san2 = {
            **here,
            "ansible_host": "127.0.0.1",
            "ansible_port": self.sshd.port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.folder / "sshd/ansible"),
            "ansible_ssh_common_args": "-F /dev/null -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=%s"
            % (self.folder / "trusted"),
            "libreha_storage": {
                **{name: value for name, value in self.access.settings().items() if name != "name"},
                "ssh": {name: getattr(self.ssh, name) for name in ("key", "unfence_key", "known_hosts")},
            },
            "storage_access_program": str(self.folder / "lib/storage-server.pyz"),
            "storage_access_config": str(self.folder / "etc/storage-server.json"),
            "storage_access_authorized_keys": str(self.folder / "sshd/authorized_keys"),
            "storage_access_host_keys": ["/nowhere.pub", str(self.folder / "sshd/host_key.pub")],
        }
        groups = {"libreha_storage": {"hosts": {"san1": {**here, "ansible_connection": "local"}, "san2": san2}}}
        (self.folder / "inventory.yml").write_text(json.dumps(groups))
        play = {"hosts": "libreha_storage", "gather_facts": False, "roles": ["libreha.vmware.storage_access"]}
        (self.folder / "play.yml").write_text(json.dumps([play]))

    def play(self, *options: str) -> str:
        """What a run of the role prints; the last lines count what was changed."""
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventory.yml", "play.yml", *options]
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/collections"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
        }
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.folder, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def end(self) -> None:
        self.sshd.end()
        self.storage.end()
        shutil.rmtree(self.sockets.parent)
