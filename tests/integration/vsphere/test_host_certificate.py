"""The module host_certificate: a host's certificate is taken when its fingerprint was compared, and never before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry import host_certificate
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError
from ansible_collections.libreha.vmware.plugins.module_utils.hypervisor.registry import open_hypervisor
from real_hosts import Authority, Host, free_port

NewHost = Callable[..., Host]
WRONG = ":".join(["00"] * 32)


def run(host: Host, check_mode: bool = False, **options: Any) -> dict[str, Any]:
    given = {"name": host.name, "hostname": "127.0.0.1", "port": host.port, "timeout": 5.0, "fingerprint": None, "path": None, **options}
    return host_certificate.run(given, check_mode)


def reissue(host: Host, authority: Authority, names: list[str]) -> None:
    host.end()
    authority.issue("other", names, Path(host.config["certificate"]), Path(host.config["key"]))
    host.start()


def test_it_is_shown_and_only_the_compared_one_becomes_the_file(new_host: NewHost, tmp_path: Path) -> None:
    host, file = new_host().start(), tmp_path / "esx1.pem"
    shown = run(host)
    assert (shown["changed"], shown["trusted"], shown["names"]) == (False, False, ["esx1", "127.0.0.1"])
    for fingerprint, said in ((None, "nobody has said that it is the host's"), (WRONG, "and not 00:00")):
        with pytest.raises(LibrehaError, match=said) as refused:
            run(host, path=str(file), fingerprint=fingerprint)
        assert refused.value.details["fingerprint"] == shown["fingerprint"] and not file.exists()
    wish = {"path": str(file), "fingerprint": "SHA256 Fingerprint=" + shown["fingerprint"].lower()}
    would = run(host, check_mode=True, **wish)
    assert not file.exists(), "check mode wrote"
    assert run(host, **wish) == would and would["changed"] is True
    assert run(host, **wish)["changed"] is False and run(host, path=str(file))["trusted"] is True
    with open_hypervisor(host.connection(file)) as opened:
        assert opened.virtual_machines() == []


def test_a_new_certificate_is_compared_again_and_the_old_file_refuses_it(new_host: NewHost, authority: Authority, tmp_path: Path) -> None:
    host, file = new_host().start(), tmp_path / "esx1.pem"
    old = run(host)["fingerprint"]
    run(host, path=str(file), fingerprint=old)
    reissue(host, authority, ["127.0.0.1"])
    before = file.read_bytes()
    for fingerprint, said in ((None, "not the one in the file"), (old, "another machine answers in its place")):
        with pytest.raises(LibrehaError, match=said):
            run(host, path=str(file), fingerprint=fingerprint)
    assert file.read_bytes() == before
    with pytest.raises(LibrehaError, match="certificate"), open_hypervisor(host.connection(file)):
        pass
    assert run(host, path=str(file), fingerprint=run(host)["fingerprint"])["changed"] is True


def test_a_certificate_for_other_names_is_refused_before_it_is_written(new_host: NewHost, authority: Authority, tmp_path: Path) -> None:
    host, file = new_host().start(), tmp_path / "esx1.pem"
    reissue(host, authority, ["192.0.2.1"])
    shown = run(host)
    with pytest.raises(LibrehaError, match="its names: other, 192.0.2.1") as refused:
        run(host, path=str(file), fingerprint=shown["fingerprint"])
    assert "generate-certificates" in str(refused.value) and not file.exists()


def test_nonsense_in_place_of_a_fingerprint_and_of_a_host_is_named(new_host: NewHost, tmp_path: Path) -> None:
    host = new_host().start()
    with pytest.raises(LibrehaError, match="64 hexadecimal digits"):
        run(host, path=str(tmp_path / "a.pem"), fingerprint="AB:CD")
    with pytest.raises(LibrehaError, match="shows no certificate"):
        run(host, port=free_port())
    with pytest.raises(LibrehaError, match="cannot be written.*make its folder"):
        run(host, path=str(tmp_path / "no" / "a.pem"), fingerprint=run(host)["fingerprint"])
