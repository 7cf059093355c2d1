# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one import of pyVmomi: the driver's modules can be imported without it, and say so when it is needed."""

from __future__ import annotations

from typing import Any

__all__ = ["PROBLEM", "GetServiceVersions", "SoapStubAdapter", "soap", "versionIdMap", "vim", "vmodl"]

vim: Any = None
vmodl: Any = None
SoapStubAdapter: Any = object
soap: Any = None  # the module with pyVmomi's own reader of answers
GetServiceVersions: Any = None
versionIdMap: Any = None
try:
    from pyVmomi import SoapAdapter as soap
    from pyVmomi import SoapStubAdapter, vim, vmodl
    from pyVmomi.VmomiSupport import GetServiceVersions, versionIdMap

    PROBLEM = ""
except Exception as error:  # a version that does not know this Python raises something else than ImportError
    PROBLEM = "%s: %s" % (type(error).__name__, error)
