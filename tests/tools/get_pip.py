"""Stands in for ansible-test's pip bootstrap script, where that cannot be downloaded.

ansible-test runs ``python get_pip.py [options] pip==VERSION ...`` in a virtual environment without pip, with an
environment stripped of certificate settings; the system's CA bundle is named again here.
"""

from __future__ import annotations

import ensurepip
import os
import subprocess
import sys
from pathlib import Path

BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")

environment = dict(os.environ)
for bundle in BUNDLES:
    if Path(bundle).exists():
        environment.setdefault("PIP_CERT", bundle)
ensurepip.bootstrap(upgrade=True)
packages = [word for word in sys.argv[1:] if not word.startswith("-")] or ["pip"]
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", *packages], check=True, env=environment)
