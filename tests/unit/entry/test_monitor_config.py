"""The resident monitor's configuration: the module's options from one file, its secrets apart, every mistake named, no secret shown."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.libreha.vmware.plugins.module_utils.entry.monitor_config import DEFAULT_SOCKET, Config, read_config
from ansible_collections.libreha.vmware.plugins.module_utils.errors import LibrehaError

SECRET = "s3cr3t-w0rd"
BMC = {"address": "192.0.2.21", "username": "ha", "password": SECRET}
GIVEN: dict[str, Any] = {
    "policy": {"confirm_after": 20, "hosts": {"esx1": {"initiator": "iqn.1998-01.com.vmware:esx1"}}, "storage": {"san1": {}}},
    "hosts": [{"name": "esx1", "hostname": "192.0.2.11", "username": "ha", "timeout": 3}],
    "storage": [{"name": "san1", "driver": "lio"}],
    "state_url": "sqlite:////var/lib/libreha/state.db",
}
SECRETS: dict[str, Any] = {"hosts": {"esx1": {"password": SECRET, "bmc": [BMC]}}}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write configuration and secrets as given, changed by a function, and return the configuration's path."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    def made(change: Callable[[dict[str, Any], dict[str, Any]], Any] = lambda given, secrets: None, mode: int = 0o600) -> Path:
        given, secrets = json.loads(json.dumps(GIVEN)), json.loads(json.dumps(SECRETS))
        change(given, secrets)
        (tmp_path / "monitor.json").write_text(json.dumps(given))
        (tmp_path / "secrets.json").write_text(json.dumps(secrets))
        (tmp_path / "secrets.json").chmod(mode)
        return tmp_path / "monitor.json"

    return made


def read(path: Path) -> Config:
    return read_config(str(path))


def test_the_options_mean_what_they_mean_to_the_module(write: Write) -> None:
    config = read(write())
    site = config.site
    access = site.accesses["esx1"]
    assert (access.connection.hostname, access.connection.password, access.connection.timeout) == ("192.0.2.11", SECRET, 3.0)
    assert access.connection.port == 443, "the module's default"
    assert access.bmc[0].password == SECRET
    assert site.policy.confirm_after == 20
    assert site.servers["san1"].driver == "lio"
    assert site.state_file == "/var/lib/libreha/state.db"
    assert (config.socket, config.heartbeat) == (DEFAULT_SOCKET, "")


def test_it_reaches_the_children_whole(write: Write) -> None:
    """The fork server is handed the site with each order."""
    site = read(write()).site
    assert pickle.loads(pickle.dumps(site)) == site


def test_secrets_come_from_systemds_credentials_first(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write()
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    other = json.loads(json.dumps(SECRETS).replace(SECRET, "another-word"))
    (credentials / "secrets.json").write_text(json.dumps(other))
    (credentials / "secrets.json").chmod(0o440)  # systemd's own mode, with an ACL
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert read(path).site.accesses["esx1"].connection.password == "another-word"


def test_a_database_url_with_a_password_may_be_among_the_secrets(write: Write) -> None:
    def change(given: dict[str, Any], secrets: dict[str, Any]) -> None:
        secrets["state_url"] = given.pop("state_url").replace("state.db", "other.db")

    assert read(write(change)).site.state_file == "/var/lib/libreha/other.db"


def test_socket_and_heartbeat_are_options(write: Write) -> None:
    config = read(write(lambda given, _secrets: given.update(socket="/run/other.sock", heartbeat="/usr/bin/beat --now")))
    assert (config.socket, config.heartbeat) == ("/run/other.sock", "/usr/bin/beat --now")


def set_in(*keys: Any, to: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(given: dict[str, Any], secrets: dict[str, Any]) -> None:
        place: Any = secrets if keys[0] == "secrets" else given
        names = keys[1:] if keys[0] == "secrets" else keys
        for name in names[:-1]:
            place = place[name]
        place[names[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_in("polcy", to={}), ["monitor.json: polcy: unknown option", "policy, hosts, storage"]),
        (lambda given, _secrets: given.pop("state_url"), ["monitor.json: state_url: is missing"]),
        (set_in("hosts", to={}), ["monitor.json: hosts: is not a list"]),
        (set_in("state_url", to=7), ["monitor.json: state_url: is not a text"]),
        (set_in("hosts", 0, "hostnam", to="x"), ["monitor.json", "hosts.hostnam", "hostname"]),
        (set_in("hosts", 0, "port", to="many"), ["monitor.json", "port", "hosts"]),
        (set_in("policy", "confirm_aftr", to=3), ["monitor.json", "confirm_aftr", "confirm_after"]),
        (set_in("policy", "confirm_after", to=-3), ["monitor.json", "confirm_after", "-3"]),
        (set_in("storage", 0, "driver", to="scst"), ["monitor.json", "driver", "scst"]),
        (set_in("storage", 0, "fence_list", to="fences"), ["monitor.json", "fence_list is not an absolute path"]),
        (set_in("hosts", 0, "name", to="esx2"), ["secrets.json has secrets of esx1, which is none of the hosts"]),
        (set_in("secrets", "hosts", "esx1", "username", to="ha"), ["hosts[0].username of esx1", "secrets.json too"]),
        (set_in("secrets", "hosts", "esx1", to=SECRET), ["secrets.json: hosts: must be an object"]),
        (set_in("secrets", "host", to={}), ["secrets.json: host: unknown option"]),
        (set_in("secrets", "state_url", to="sqlite:////x.db"), ["state_url: is in", "secrets.json too"]),
        (set_in("secrets", "hosts", "esx1", "bmc", to=[{**BMC, "level": SECRET}]), ["monitor.json", "level"]),
        (set_in("secrets", "hosts", "esx1", "bmc", to=[{**BMC, "pasword": SECRET}]), ["monitor.json", "hosts.bmc.pasword"]),
        (set_in("state_url", to="postgresql+psycopg://ha:%s@db:port/x" % SECRET), ["state_url is not a database URL"]),
        (set_in("state_url", to="mysql://ha:%s@db/x" % SECRET), ["state_url", "mysql"]),
        (set_in("state_url", to="state.db"), ["state_url is not a database URL"]),
        (set_in("socket", to="monitor.sock"), ["socket: must be an absolute path"]),
        (set_in("heartbeat", to="hc-ping.example.com/%s" % SECRET), ["heartbeat: must be a URL"]),
    ],
)
def test_each_mistake_is_named_with_file_and_option_and_no_secret(
    write: Write, change: Callable[[dict[str, Any], dict[str, Any]], Any], words: list[str]
) -> None:
    with pytest.raises(LibrehaError) as refused:
        read(write(change))
    shown = "%s %s" % (refused.value, refused.value.details)
    for word in words:
        assert word in str(refused.value)
    assert SECRET not in shown
    assert refused.value.remedy


def test_all_mistakes_of_the_policy_are_told_at_once(write: Write) -> None:
    def change(given: dict[str, Any], _secrets: dict[str, Any]) -> None:
        given["policy"].update(confirm_aftr=3, mode="perhaps")

    with pytest.raises(LibrehaError) as refused:
        read(write(change))
    assert len(refused.value.details["errors"]) == 2
    assert all("monitor.json: libreha_policy" in text for text in refused.value.details["errors"])


@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_secrets_that_others_may_read_are_refused(write: Write, mode: int) -> None:
    with pytest.raises(LibrehaError, match="secrets.json: others than its owner may read it .*chmod 600"):
        read(write(mode=mode))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("monitor.json", '{"policy": "%s"' % SECRET, "monitor.json: is not JSON (line 1, column"),
        ("secrets.json", '{"hosts": "%s"' % SECRET, "secrets.json: is not JSON (line 1, column"),
        ("monitor.json", "[]", "monitor.json: is not a JSON object"),
        ("monitor.json", b"\xff", "monitor.json: is not JSON (not UTF-8)"),
    ],
)
def test_a_file_that_is_no_json_is_named_and_not_shown(write: Write, name: str, content: Any, words: str) -> None:
    path = write()
    file = path.parent / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.chmod(file, 0o600)
    with pytest.raises(LibrehaError) as refused:
        read(path)
    assert words in str(refused.value)
    assert SECRET not in str(refused.value)


def test_no_file_is_named_with_who_writes_it(tmp_path: Path) -> None:
    with pytest.raises(LibrehaError, match="monitor.json: cannot be read: No such file.*ha_monitor"):
        read(tmp_path / "monitor.json")


def test_the_environment_sets_no_option(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module's options fall back to it; a service's environment is nobody's intention."""
    monkeypatch.setenv("VMWARE_USER", "somebody")
    monkeypatch.setenv("LIBREHA_STATE_URL", "sqlite:////tmp/x.db")
    with pytest.raises(LibrehaError, match="username is missing for host esx1"):
        read(write(lambda given, _secrets: given["hosts"][0].pop("username")))
