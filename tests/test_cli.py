import subprocess
import sys

import pytest

import ramkit
from ramkit.cli import main


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"ramkit {ramkit.__version__}\n"


@pytest.mark.parametrize("args", [[], ["nonsense"], ["demo", "--nonsense"]])
def test_what_it_does_not_understand_is_status_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 2
    assert "usage: ramkit" in capsys.readouterr().err


def test_demo_gets_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr("ramkit.demo.run", lambda args: seen.append((args.once, args.port, args.redis)) or 7)
    assert main(["demo", "--once", "--port", "8123", "--redis", "redis://elsewhere"]) == 7
    assert seen == [(True, 8123, "redis://elsewhere")]


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ramkit", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"ramkit {ramkit.__version__}\n"
