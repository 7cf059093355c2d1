# Copyright: (c) 2026, libreha contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the answer to a bulk read into the same objects as pyVmomi does, in a third of its time.

pyVmomi calls Python for each tag and each text, and checks each value against a type that it has just chosen itself. For 500 VMs that is
most of what a look costs. Here expat builds a tree, and what a tag means is looked up once for each type. What this reader does not know (a
fault inside, a foreign namespace, a type or field that pyVmomi does not know) is left to pyVmomi: ``read_answer`` returns None then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from .pyvmomi import PROBLEM, soap

SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
SCHEMA = "http://www.w3.org/2001/XMLSchema"
VIM = "urn:vim25"
XSI_TYPE = "{%s}type" % SCHEMA_INSTANCE
TAG = "{%s}" % VIM

Build = Callable[[Any], Any]  # an element of the tree -> its value


class NotKnown(Exception):
    """The answer has something that is left to pyVmomi."""


def read_answer(data: bytes, result_type: Any, stub: Any) -> Any:
    """The value of a successful answer of one method, or None where pyVmomi has to read it."""
    if PROBLEM or soap is None or not _plain_namespaces(data):
        return None
    try:
        body = ElementTree.fromstring(data)[0]
        response = body[0]
        if len(body) != 1 or not response.tag.startswith(TAG) or not response.tag.endswith("Response") or len(response) != 1:
            return None
        if issubclass(result_type, list) and XSI_TYPE not in response[0].attrib:
            return None  # an element for each item, and not one for the list
        return _Reader(stub).build(response[0], result_type)
    except (ElementTree.ParseError, NotKnown, LookupError, AttributeError, TypeError, ValueError):
        return None


def _plain_namespaces(data: bytes) -> bool:
    """Whether ``xsd:`` and names without a prefix mean everywhere what they mean in a host's answers; the tree does not tell."""
    return all(data.count(b" xmlns%s=" % name) == data.count(b' xmlns%s="%s"' % (name, meaning.encode())) for name, meaning in _MEANINGS)


_MEANINGS = ((b"", VIM), (b":xsd", SCHEMA))


class _Reader:
    """One answer, in the words of the version that *stub* speaks."""

    def __init__(self, stub: Any) -> None:
        self.stub = stub
        self.plans: dict[tuple[Any, str | None], Build] = {}

    def build(self, element: Any, declared: Any) -> Any:
        """The value of an element whose field has the type *declared*."""
        given = element.get(XSI_TYPE)
        key = (declared, given)
        plan = self.plans.get(key)
        if plan is None:
            plan = self.plans[key] = self._plan(declared, given)
        return plan(element)

    def _plan(self, declared: Any, given: str | None) -> Build:
        """What SoapDeserializer.StartElementHandler and EndElementHandler of pyVmomi decide for each element."""
        kind = declared
        if given and not soap.isDynamicType(declared):
            named = self._named(given)
            if not (issubclass(named, list) and issubclass(declared, list)):
                kind = named
            if not issubclass(kind, declared):
                raise NotKnown
        elif not given and issubclass(declared, list):
            kind = declared.Item
        if self.stub.version:
            kind = soap.GetCompatibleType(kind, self.stub.version)
        if issubclass(kind, soap.ManagedObject):
            return self._reference(kind)
        if issubclass(kind, Exception):
            raise NotKnown
        if issubclass(kind, list):
            item = kind.Item
            return lambda element: kind([self.build(child, item) for child in element])
        if issubclass(kind, soap.DataObject):
            return self._object(kind)
        return _leaf(kind)

    def _named(self, name: str) -> Any:
        """A type by its name in the answer."""
        prefix, _colon, local = name.rpartition(":")
        if prefix not in ("", "xsd"):
            raise NotKnown
        if local == "ManagedObjectReference":
            return soap.ManagedObject
        return soap.GetWsdlType(SCHEMA if prefix else VIM, local)

    def _reference(self, kind: Any) -> Build:
        kinds: dict[str, Any] = {}

        def build(element: Any) -> Any:
            name = element.attrib["type"]
            found = kinds.get(name)
            if found is None:
                found = kinds[name] = self._named(name)
                if not issubclass(found, kind):
                    raise NotKnown
            if "serverGuid" in element.attrib:
                raise NotKnown
            return found(element.text or "", self.stub)

        return build

    def _object(self, kind: Any) -> Build:
        unset = vars(kind())
        lists = [(name, type(value)) for name, value in unset.items() if isinstance(value, list)]
        fields: dict[str, tuple[str, Any, bool]] = {}

        plans = self.plans

        def build(element: Any) -> Any:
            made = kind.__new__(kind)
            values = made.__dict__
            values.update(unset)
            for name, empty in lists:
                values[name] = empty()
            for child in element:
                field = fields.get(child.tag)
                if field is None:
                    info = kind._GetPropertyInfo(child.tag[len(TAG) :])
                    field = fields[child.tag] = (info.name, info.type, issubclass(info.type, list))
                name, declared, several = field
                plan = plans.get((declared, child.get(XSI_TYPE)))
                value = self.build(child, declared) if plan is None else plan(child)
                if several and not isinstance(value, list):
                    values[name].append(value)
                else:
                    values[name] = value
            return made

        return build


def _leaf(kind: Any) -> Build:
    if kind is bool:
        return lambda element: _BOOLEANS[(element.text or "").lower()]
    if kind is str:
        return lambda element: element.text or ""
    if kind is soap.datetime:
        return _moment
    if issubclass(kind, soap.Enum):
        return lambda element: getattr(kind, element.text or "")
    if kind is type or kind is soap.ManagedMethod or issubclass(kind, bytes):
        raise NotKnown
    if issubclass(kind, (int, float, str)):
        return lambda element: kind(element.text or "")
    raise NotKnown


_BOOLEANS = {"0": False, "false": False, "1": True, "true": True}


def _moment(element: Any) -> Any:
    moment = soap.Iso8601.ParseISO8601(element.text or "")
    if not moment:
        raise NotKnown
    return moment
