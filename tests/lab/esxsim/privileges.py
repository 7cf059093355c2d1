"""Writes privileges.json: the privilege of each method, parameter and property of the vSphere API, from pyVmomi's type table.

``.venv/bin/python tests/lab/esxsim/privileges.py`` from the repository's root. Left out is what every role may (System.*).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyVmomi import VmomiSupport

FILE = Path(__file__).with_name("privileges.json")
# The type table says of this one only that the files named decide; the API reference says which privilege: Datastore.Browse.
BY_THE_REFERENCE = {"SearchDatastore_Task": {"this": "Datastore.Browse"}, "SearchDatastoreSubFolders_Task": {"this": "Datastore.Browse"}}


def table() -> dict[str, dict[str, Any]]:
    methods: dict[str, dict[str, str]] = dict(BY_THE_REFERENCE)
    properties: dict[str, str] = {}
    for name in list(VmomiSupport._managedDefMap):
        if not name.startswith("vim."):
            continue
        kind = VmomiSupport.GetVmodlType(name)
        for info in kind.__dict__.get("_methodInfo", {}).values():
            needed = {"this": info.privId, **{parameter.name: parameter.privId for parameter in info.params}}
            methods.setdefault(info.wsdlName, {}).update({key: value for key, value in needed.items() if _beyond_reading(value)})
        for info in kind.__dict__.get("_propInfo", {}).values():
            if _beyond_reading(info.privId):
                properties["%s.%s" % (kind._wsdlName, info.name)] = info.privId
    return {"methods": {name: needed for name, needed in sorted(methods.items()) if needed}, "properties": dict(sorted(properties.items()))}


def _beyond_reading(privilege: str | None) -> bool:
    return bool(privilege) and not str(privilege).startswith("System.")


if __name__ == "__main__":
    found = table()
    lines = ["%s: %s" % (json.dumps(name), json.dumps(needed)) for name, needed in found["methods"].items()]
    kept = ["%s: %s" % (json.dumps(name), json.dumps(needed)) for name, needed in found["properties"].items()]
    FILE.write_text('{"methods": {\n%s},\n"properties": {\n%s}}\n' % (",\n".join(lines), ",\n".join(kept)), encoding="utf-8")
