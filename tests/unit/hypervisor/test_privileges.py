"""The list of privileges says what the vSphere API itself says, as pyVmomi's type table has it."""

from __future__ import annotations

import re

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.privileges import ADDITIONAL, GRANTED, OF_EVERY_ROLE, Privilege
from pyVmomi import VmomiSupport

#: Of these the type table says nothing, the API reference does.
BY_THE_REFERENCE = {"HostDatastoreBrowser.SearchDatastoreSubFolders_Task", "LicenseManager.licenses"}
CALLS = [(privilege, call) for privilege in (*OF_EVERY_ROLE, *GRANTED, *ADDITIONAL) for call in privilege.calls]


@pytest.mark.parametrize(("privilege", "call"), CALLS, ids=[call for _privilege, call in CALLS])
def test_a_call_needs_the_privilege_that_it_is_listed_under(privilege: Privilege, call: str) -> None:
    assert _of_the_api(call) == (None if call in BY_THE_REFERENCE else privilege.name)


def _of_the_api(call: str) -> str | None:
    match = re.fullmatch(r"(\w+)\.(\w+?)(?:\((\w+)\))?", call)
    assert match is not None, call
    kind, member, parameter = match.groups()
    for name in VmomiSupport._managedDefMap:
        found = VmomiSupport.GetVmodlType(name)
        if found._wsdlName != kind:
            continue
        for info in found.__dict__.get("_methodInfo", {}).values():
            if info.wsdlName == member:
                return next((one.privId for one in info.params if one.name == parameter), None) if parameter else info.privId
        for info in found.__dict__.get("_propInfo", {}).values():
            if info.name == member:
                return info.privId
    raise AssertionError("the API has no %s" % call)
