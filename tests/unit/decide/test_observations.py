"""Observations survive the trip through JSON between the modules, and a wrong one is named."""

from __future__ import annotations

import json

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.decide import observations as seen
from ansible_collections.libreha.vmware.plugins.module_utils.decide.json_form import to_dict
from ansible_collections.libreha.vmware.plugins.module_utils.instant import Instant

AT = Instant("boot-1", 12.5, "2026-01-01T00:00:00+00:00")


def test_an_observation_survives_json() -> None:
    observation = seen.Observation(
        taken_at=AT,
        hosts=(
            seen.HostObservation(
                "esx1", AT, seen.ApiAnswer.ANSWERED, uptime=7.0, datastores=(seen.Datastore("shared", "u1", luns=(seen.Lun("iqn.x", 1),)),)
            ),
        ),
        vms=(seen.VmObservation("u1:a/a.vmx", "esx1", "a", "[shared] a/a.vmx", AT, question=seen.Question("1", "msg.uuid.altered")),),
        storage=(seen.StorageObservation("san", AT, sessions=None, fences=(seen.Fence("esx2", "iqn.y", 3, AT),)),),
    )
    assert seen.Observation.from_dict(json.loads(json.dumps(to_dict(observation)))) == observation


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"hosts": "esx1"}, "observation.hosts"),
        ({"hosts": [{"name": "esx1"}]}, "taken_at is missing"),
        ({"hosts": [{"name": "esx1", "taken_at": AT.to_dict(), "ping": "perhaps"}]}, "ping: 'perhaps' is none of ok"),
        ({"hosts": [{"name": 5, "taken_at": AT.to_dict()}]}, "hosts[0].name"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(change: dict, place: str) -> None:
    with pytest.raises(ValueError, match=r"^observation") as refused:
        seen.Observation.from_dict({"taken_at": AT.to_dict(), **change})
    assert place in str(refused.value)


def test_identity_is_datastore_uuid_and_path_never_the_datastores_name() -> None:
    assert seen.vm_id("u1", "[shared] vm01/vm01.vmx") == seen.vm_id("u1", "[shared (1)] vm01/vm01.vmx") == "u1:vm01/vm01.vmx"
