"""The guests' one image: built once, kept under a hash of all that it is made from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import LabError
from ..processes import tail

RECIPE = Path(__file__).resolve().parent / "image"
ROOT = Path(__file__).resolve().parents[4]
SETUP = ROOT / "tests" / "tools" / "setup-qemu"
NEEDED = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mke2fs", "gcc", "ssh", "ssh-keygen")
BUILD_SECONDS = 1800  # a hang guard: two minutes where packages come quickly
# What the build mounts nobody else sees, and all that it started ends with it: its folder can be removed at any time.
ENCLOSED = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass(frozen=True)
class Image:
    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinux"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"


def cache() -> Path:
    """Where images are kept: $LIBREHA_LAB_IMAGES, or .cache/lab-images of this checkout."""
    return Path(os.environ.get("LIBREHA_LAB_IMAGES") or ROOT / ".cache" / "lab-images").absolute()


def inputs_hash() -> str:
    """Over every file of the recipe: path, mode and content."""
    digest = hashlib.sha256()
    for path in sorted(RECIPE.rglob("*")):
        if path.is_file():
            executable = bool(path.stat().st_mode & 0o100)
            digest.update(("%s %d %d\n" % (path.relative_to(RECIPE), executable, path.stat().st_size)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def install_tools() -> None:
    """Install what guests need on this machine, if anything is missing; setup-qemu says what it installs before it does."""
    if all(shutil.which(command) for command in NEEDED):
        return
    done = subprocess.run([str(SETUP)], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
    missing = [command for command in NEEDED if shutil.which(command) is None]
    if done.returncode != 0 or missing:
        raise LabError(
            "The programs for QEMU guests could not be installed (%s ended with %d; missing: %s)."
            % (SETUP, done.returncode, ", ".join(missing) or "nothing")
        )


def ready() -> Image:
    """The image, built if it is not there yet. Raises LabError with the end of the build's log when that fails."""
    if platform.machine() != "x86_64":
        raise LabError("The guests are amd64, and their image can be built on amd64 only; this machine is %s." % platform.machine())
    install_tools()
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    image = Image(folder / inputs_hash())
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.folder.exists():
            _build(image)
    return image


def _build(image: Image) -> None:
    print("building the guests' image into %s (two minutes; once)" % image.folder, file=sys.stderr, flush=True)
    begin = time.monotonic()
    log = image.folder.with_suffix(".log")
    for left in image.folder.parent.glob("building-*"):  # by a build that was killed; the caller holds the lock
        shutil.rmtree(left)
    scratch = Path(tempfile.mkdtemp(prefix="building-", dir=image.folder.parent))
    try:
        with open(log, "wb") as sink:
            done = subprocess.run(
                [*ENCLOSED, str(RECIPE / "build"), str(scratch)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                timeout=BUILD_SECONDS,
                check=False,
            )
        if done.returncode != 0:
            raise LabError(
                "The guests' image could not be built: %s ended with %d. It needs root and Debian's packages. The end of its log %s:\n%s"
                % (RECIPE / "build", done.returncode, log, tail(log))
            )
        scratch.chmod(0o755)
        os.rename(scratch, image.folder)
    except subprocess.TimeoutExpired as error:
        raise LabError(
            "The guests' image was not built within %d s. The end of its log %s:\n%s" % (BUILD_SECONDS, log, tail(log))
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print("image built in %.0f s" % (time.monotonic() - begin), file=sys.stderr, flush=True)
