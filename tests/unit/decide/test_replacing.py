"""decide/replacing.py does what dataclasses.replace does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide.memory import HostRecord, Memory
from ansible_collections.libreha.vmware.plugins.module_utils.decide.replacing import replace


def test_fields_are_replaced_and_the_others_stay() -> None:
    record = HostRecord("esx1", samples=3, initiators=("iqn.a",))
    changed = replace(record, verdict="dead", samples=4)
    assert changed == dataclasses.replace(record, verdict="dead", samples=4)
    assert record == HostRecord("esx1", samples=3, initiators=("iqn.a",))
    assert type(changed) is HostRecord
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.samples = 5  # type: ignore[misc]


def test_what_was_worked_out_from_the_old_fields_is_not_copied() -> None:
    memory = Memory(hosts=(HostRecord("esx1"),))
    assert memory.host("esx1").samples == 0
    changed = replace(memory, hosts=(HostRecord("esx1", samples=7),))
    assert changed.host("esx1").samples == 7
    assert replace(memory) == memory


def test_a_field_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(TypeError, match="HostRecord has no field verdcit"):
        replace(HostRecord("esx1"), verdcit="dead")  # type: ignore[call-arg]


def test_a_cached_property_is_no_field() -> None:
    memory = Memory()
    with pytest.raises(TypeError, match="Memory has no field vms_by_id"):
        replace(memory, vms_by_id={})  # type: ignore[call-arg]


@dataclass(frozen=True)
class Checked:
    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("a size is never negative")


@dataclass(frozen=True)
class Counted:
    size: int
    doubled: int = field(init=False, default=0)

    @cached_property
    def half(self) -> int:
        return self.size // 2


@pytest.mark.parametrize("value", [Checked(1), Counted(1)])
def test_a_class_that_is_more_than_its_fields_is_refused(value: Checked | Counted) -> None:
    with pytest.raises(TypeError, match="use dataclasses.replace"):
        replace(value, size=2)
