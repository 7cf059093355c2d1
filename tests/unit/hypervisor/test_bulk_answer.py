"""A large answer is read into the same objects as by pyVmomi, or left to it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.bulk_answer import read_answer
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.interface import Connection
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.pyvmomi import soap, vim, vmodl
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.transport import HostStub

RESULT = vmodl.query.PropertyCollector.RetrieveResult
ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
    '<RetrievePropertiesExResponse xmlns="urn:vim25"><returnval>%s</returnval></RetrievePropertiesExResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)
DEVICES = (
    '<VirtualDevice xsi:type="VirtualDisk"><key>2000</key><backing xsi:type="VirtualDiskFlatVer2BackingInfo">'
    '<fileName>[ds1] web1/web1.vmdk</fileName><datastore type="Datastore">ds-1</datastore><diskMode>persistent</diskMode></backing>'
    "<controllerKey>1000</controllerKey><capacityInKB>1048576</capacityInKB></VirtualDevice>"
    '<VirtualDevice xsi:type="ParaVirtualSCSIController"><key>1000</key><busNumber>0</busNumber><device>2000</device>'
    "<device>2001</device><sharedBus>noSharing</sharedBus></VirtualDevice>"
)
FAULT = '<fault><fault xsi:type="NoPermission"/><localizedMessage>no</localizedMessage></fault>'
OBJECT = '<objects><obj type="VirtualMachine">12</obj>%s</objects>'
VALUES = {
    "text": ("xsd:string", "a &lt;name&gt; &amp; more"),
    "no text": ("xsd:string", ""),
    "yes": ("xsd:boolean", "true"),
    "number": ("xsd:int", "7"),
    "large": ("xsd:long", "5000000000"),
    "moment": ("xsd:dateTime", "2026-11-29T10:00:00.5Z"),
    "choice": ("VirtualMachinePowerState", "poweredOn"),
    "reference": ("ManagedObjectReference", None),
    "structure": (
        "VirtualMachineConfigSummary",
        "<name>web1</name><template>false</template><vmPathName>[ds1] web1/web1.vmx</vmPathName><memorySizeMB>1024</memorySizeMB>",
    ),
    "devices": ("ArrayOfVirtualDevice", DEVICES),
    "files": ("ArrayOfVirtualMachineFileLayoutExFileInfo", ""),
}


def answer(*values: str) -> bytes:
    """The answer with the properties of VALUES that are named."""
    found = []
    for name in values:
        kind, content = VALUES[name]
        reference = ' type="HostSystem"' if content is None else ""
        found.append('<propSet><name>%s</name><val xsi:type="%s"%s>%s</val></propSet>' % (name, kind, reference, content or "ha-host"))
        if content == "":
            found[-1] = found[-1].replace(">ha-host<", "><")
    return (ENVELOPE % (OBJECT % "".join(found))).encode()


@pytest.fixture(scope="module")
def stub() -> Any:
    made = HostStub(Connection("esx1", hostname="127.0.0.1", username="root", password="secret", validate_certs=False))
    made.speak("8.0.3.0")
    return made


def plain(value: Any) -> Any:
    """A value with everything in it and each part's type."""
    if isinstance(value, list):
        return type(value), [plain(item) for item in value]
    if isinstance(value, soap.DataObject):
        return type(value), {name: plain(item) for name, item in vars(value).items()}
    if isinstance(value, soap.ManagedObject):
        return type(value), value._moId, value._stub
    return type(value), value


@pytest.mark.parametrize("name", VALUES)
def test_each_kind_of_value_is_what_pyvmomi_makes_of_it(name: str, stub: Any) -> None:
    data = answer(name)
    read = read_answer(data, RESULT, stub)
    assert read is not None, "this kind is not left to pyVmomi"
    assert plain(read) == plain(soap.SoapResponseDeserializer(stub).Deserialize(data, RESULT))


def test_objects_do_not_share_their_lists(stub: Any) -> None:
    read = read_answer(answer("structure", "devices", "devices"), RESULT, stub)
    first, second = (read.objects[0].propSet[index].val for index in (1, 2))
    first[1].device.append(1)
    assert list(second[1].device) == [2000, 2001]
    assert read.objects[0].missingSet == []


@pytest.mark.parametrize(
    ("instead", "of"),
    [
        ('<objects><obj type="VirtualMachine" serverGuid="x">', '<objects><obj type="VirtualMachine">'),
        ('<datastore type="VirtualMachine">', '<datastore type="Datastore">'),
        ('<backing xsi:type="VirtualMachineConfigSummary">', '<backing xsi:type="VirtualDiskFlatVer2BackingInfo">'),
        ('<backing xsi:type="OfALaterVersion">', '<backing xsi:type="VirtualDiskFlatVer2BackingInfo">'),
        ("<ofALaterVersion>", "<diskMode>"),
        ('xmlns="urn:other"', 'xmlns="urn:vim25"'),
        ('xmlns:xsd="urn:other"', 'xmlns:xsd="http://www.w3.org/2001/XMLSchema"'),
        ("<capacityInKB>many", "<capacityInKB>1048576"),
        ('xsi:type="own:string"', 'xsi:type="xsd:string"'),
    ],
)
def test_what_is_not_known_is_left_to_pyvmomi(instead: str, of: str, stub: Any) -> None:
    data = answer("text", "devices").decode()
    assert of in data
    assert read_answer(data.replace(of, instead).encode(), RESULT, stub) is None


def test_a_fault_inside_is_left_to_pyvmomi(stub: Any) -> None:
    missing = "<missingSet><path>name</path>%s</missingSet>" % FAULT
    assert read_answer((ENVELOPE % (OBJECT % missing)).encode(), RESULT, stub) is None


def test_an_array_of_events_is_read_and_an_array_without_its_type_is_not(stub: Any) -> None:
    events = vim.event.EventHistoryCollector._GetPropertyInfo("latestPage").type
    one = '<Event xsi:type="VmPoweredOnEvent"><key>1</key><chainId>1</chainId><createdTime>2026-11-29T10:00:00Z</createdTime></Event>'
    data = ENVELOPE.replace("<returnval>%s", '<returnval xsi:type="ArrayOfEvent">%s') % one
    read = read_answer(data.encode(), events, stub)
    assert plain(read) == plain(soap.SoapResponseDeserializer(stub).Deserialize(data.encode(), events))
    assert read_answer(data.replace(' xsi:type="ArrayOfEvent"', "").encode(), events, stub) is None
