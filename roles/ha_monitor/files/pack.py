"""Pack what the arbiter needs of a collection: pack.py COLLECTION ARCHIVE. Runs on the controller; prints {"digest": ..., "version": ...}.

The digest is of the names and contents, so the same collection gives the same one whatever machine packs it.
"""

import gzip
import hashlib
import io
import json
import re
import sys
import tarfile
from pathlib import Path

INSIDE = "ansible_collections/libreha/vmware"
#: Packages of their own, so that a collections folder of the machine's Python does not come in between.
PACKAGES = ("ansible_collections", "ansible_collections/libreha", INSIDE, INSIDE + "/plugins")


def files(collection):
    """Name in the archive -> content."""
    found = {"%s/__init__.py" % package: b"" for package in PACKAGES}
    for path in sorted((collection / "plugins/module_utils").rglob("*.py")):
        found["%s/%s" % (INSIDE, path.relative_to(collection).as_posix())] = path.read_bytes()
    found[INSIDE + "/COPYING"] = (collection / "COPYING").read_bytes()
    return found


def version(collection):
    """Of an installed collection or of its repository."""
    manifest, galaxy = collection / "MANIFEST.json", collection / "galaxy.yml"
    if manifest.exists():
        return json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"]
    return re.search(r"^version: *(\S+)", galaxy.read_text(encoding="utf-8"), re.MULTILINE).group(1)


def main(collection, archive):
    found = files(Path(collection))
    if len(found) == len(PACKAGES) + 1:
        raise SystemExit("%s is not the collection libreha.vmware: it has no plugins/module_utils" % collection)
    digest = hashlib.sha256()
    with open(archive, "wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed, tarfile.open(None, "w", packed) as tar:
        for name, content in sorted(found.items()):
            digest.update(b"%s\0%d\0" % (name.encode(), len(content)) + content)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    sys.stdout.write(json.dumps({"digest": digest.hexdigest()[:16], "version": version(Path(collection))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
