"""The oldest and the newest Ansible, and the oldest Python, that are promised: every playbook is understood, and a first run works.

Modules run on Python 3.9 under the oldest Ansible. The Pythons come from pyenv or the distribution, Ansible and the libraries from PyPI.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.prove
ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache" / "versions"
OLDEST = str(yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"]).removeprefix(">=").rpartition(".")[0]
NEWEST = "2.21"
HANG_GUARD = 600  # s
NO_TGTD = 32001  # a control port that no tgtd of this machine has


def python(version: str) -> str:
    """A Python of that version that runs; a pyenv shim may be there without one."""
    found = [*map(str, Path.home().glob(".pyenv/versions/%s.*/bin/python" % version)), shutil.which("python" + version)]
    for one in filter(None, found):
        said = subprocess.run([one, "--version"], capture_output=True, text=True, check=False).stdout
        if said.startswith("Python %s." % version):
            return one
    pytest.fail("no Python %s on this machine: pyenv install %s" % (version, version), pytrace=False)


def virtualenv(version: str, *requirements: str) -> Path:
    """Its folder of programs; made once for these requirements."""
    wanted = repr((version, requirements, (ROOT / "requirements.txt").read_text()))
    folder = CACHE / hashlib.sha256(wanted.encode()).hexdigest()[:16]
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([python(version), "-m", "venv", str(folder)], check=True)
        install = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        subprocess.run(install, check=True, cwd=ROOT)
        (folder / "complete").touch()
    return folder / "bin"


def inventory(folder: Path, interpreter: Path) -> Path:
    """A cluster on this machine of which no host answers and no target runs: enough for every module to be loaded and to say so."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": str(interpreter)}
    server = {
        "driver": "tgt",
        "control_port": NO_TGTD,
        "fence_list": str(folder / "fences.json"),
        "saved_config": str(folder / "targets.conf"),
    }
    host = {"ansible_host": "127.0.0.1", "libreha_port": 1, "libreha_initiator": "iqn.1998-01.com.vmware:esx1"}
    content = {
        "all": {
            "vars": {"libreha_state_url": "sqlite:///%s/state.db" % folder, "libreha_username": "ha", "libreha_password": "secret"},
            "children": {
                "libreha_hosts": {"hosts": {"esx1": host}},
                "libreha_storage": {"hosts": {"san1": {**here, "libreha_storage": server}}},
            },
        }
    }
    path = folder / "inventory.yml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(("core", "controller", "modules"), [(OLDEST, "3.11", "3.9"), (NEWEST, "3.12", "3.12")], ids=["oldest", "newest"])
def test_every_playbook_is_understood_and_a_first_run_works(tmp_path: Path, core: str, controller: str, modules: str) -> None:
    programs = virtualenv(controller, "ansible-core==%s.*" % core)
    path = inventory(tmp_path, virtualenv(modules, "-r", "requirements.txt") / "python")
    # The two collections that galaxy.yml names, as the package "ansible" has them here.
    collections = os.pathsep.join([str(ROOT / ".cache/collections"), sysconfig.get_path("purelib")])
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_NOCOLOR": "1"}

    def call(program: str, *words: str, **extra: Any) -> tuple[int, str]:
        command = [str(programs / program), "-i", str(path), *words, "-e", json.dumps(extra)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_GUARD, check=False)
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said
        return done.returncode, said

    version = subprocess.run([str(programs / "ansible"), "--version"], env=environment, capture_output=True, text=True, check=True).stdout
    assert "[core %s." % core in version
    for playbook in sorted(ROOT.glob("playbooks/*.yml")):
        code, said = call("ansible-playbook", "libreha.vmware.%s" % playbook.stem, "--syntax-check")
        assert code == 0, said
    code, said = call("ansible", "san1", "-m", "libreha.vmware.ha_state", "-a", "state=present state_url={{ libreha_state_url }}")
    assert code == 0, said
    # Each looks at the whole cluster: hosts by pyVmomi, the target by its driver, the state by SQLAlchemy.
    for name in ("monitor", "preflight", "drill"):
        code, said = call("ansible-playbook", "libreha.vmware.%s" % name, libreha_max_looks=1)
        assert "esx1" in said and "unreachable=0" in said, said
        assert (code != 0) is (name != "drill"), said
        assert name == "drill" or "storage server san1" in said, said
