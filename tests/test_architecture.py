"""The rules of the house (docs/architecture.md), each as a test."""

import ast
import importlib
import io
import os
import re
import subprocess
import sys
import tokenize
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ramkit"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CHECKED = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "benchmarks").rglob("*.py"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE, EXTRAS = PROJECT["dependencies"], PROJECT["optional-dependencies"]

#: above the rooms: these may see everything
ABOVE = {"stack", "demo", "doctor", "cli", "testing", "__main__"}
#: rooms that are made of rooms
HOUSES = {"auth"}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
INNER = sorted(
    f"{house}.{path.parent.name}" for house in HOUSES for path in (PACKAGE / house).glob("*/__init__.py")
)
#: the decisions about tokens are made with these; they are calculations
LIBRARIES = {"msgspec", "http_sf", "jwt", "cryptography"}
#: what the app brings along by itself: only a file of thin forms for it may import it
FRAMEWORKS = {"dependencies.py": {"fastapi"}, "opentelemetry.py": {"opentelemetry"}}
#: what a part of a room may import: parts of its own room, the kernel beside, and libraries
PARTS = {
    "policy": (set[str](), set[str]()),
    "errors": (set[str](), {"starlette"}),  # for HTTPException: a handler may let them through
    "events": (set[str](), set[str]()),
    "core": ({"policy", "core"}, LIBRARIES),
    "port": ({"policy", "core"}, set[str]()),
    "backends": ({"port", "core", "errors", "events", "backends"}, {"msgspec", "asyncpg", "httptools"}),
}


def module_of(path: Path) -> list[str]:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def room_of(path: Path) -> tuple[str, list[str]]:
    """The room that a file is in, with dots, and the rest of its module's name."""
    _, room, *rest = [*module_of(path), ""]
    if room in HOUSES and rest[1:]:
        room, rest = f"{room}.{rest[0]}", rest[1:]
    return room, rest


def folder_of(room: str) -> Path:
    return PACKAGE.joinpath(*room.split("."))


def in_a_room(path: Path) -> bool:
    return not ABOVE.intersection(module_of(path)[1:2])


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions and for types only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import"
            # `from ramkit.cache import policy` names a module, `from ramkit.cache import Rule` does not
            for alias in node.names:
                inner = ROOT.joinpath(*node.module.split("."), alias.name)
                is_module = inner.is_dir() or inner.with_suffix(".py").exists()
                yield f"{node.module}.{alias.name}" if is_module else node.module


def foreign(path: Path) -> set[str]:
    """The top-level modules of other people that a file imports."""
    return {name.partition(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"ramkit"}


# -- imports ---------------------------------------------------------------------------------------


def test_import_contracts() -> None:
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == EXIT_STATUS_SUCCESS


PARTS_OF_ROOMS = [
    path
    for path in SOURCES
    if in_a_room(path) and room_of(path)[0] != "kernel" and PARTS.keys() & set(room_of(path)[1][:1])
]


@pytest.mark.parametrize("path", PARTS_OF_ROOMS, ids=name_of)
def test_imports_of_a_part(path: Path) -> None:
    room, (part, *_) = room_of(path)
    own, libraries = PARTS[part]
    allowed = {"ramkit.kernel", *(f"ramkit.{room}.{name}" for name in own)}
    if part == "backends":
        allowed.add("ramkit.redis")
    if room == "redis":
        libraries = libraries | {"redis"}
    ours = {name for name in imports(path) if name.partition(".")[0] == "ramkit"}
    assert {name for name in ours if not any(f"{name}.".startswith(f"{good}.") for good in allowed)} == set()
    assert foreign(path) <= libraries


@pytest.mark.parametrize("path", sorted((PACKAGE / "kernel").glob("*.py")), ids=name_of)
def test_kernel_knows_the_standard_library_and_starlettes_types(path: Path) -> None:
    names = {name for name in imports(path) if name.partition(".")[0] not in sys.stdlib_module_names}
    ours = {name for name in names if name.startswith("ramkit.")}
    assert {name for name in ours if not name.startswith("ramkit.kernel.")} == set()
    assert names - ours <= {"starlette.types", "starlette.exceptions"}


@pytest.mark.parametrize("room", [room for room in [*ROOMS, *INNER] if room not in ABOVE])
def test_a_room_facade_imports_no_driver(room: str) -> None:
    assert foreign(folder_of(room) / "__init__.py") == set()


@pytest.mark.parametrize("path", sorted((PACKAGE / "router").rglob("*.py")), ids=name_of)
def test_of_the_router_only_the_shortcuts_know_other_rooms(path: Path) -> None:
    rooms = {name for name in imports(path) if name.split(".")[:1] == ["ramkit"]}
    others = {name for name in rooms if name.split(".")[1] not in {"kernel", "router"}}
    assert others == set() or path == PACKAGE / "router" / "shortcuts.py"


def test_the_shortcuts_import_a_room_when_it_is_asked_for() -> None:
    code = (
        "import sys, ramkit.router; print(*(name.split('.')[1] for name in sys.modules if 'ramkit.' in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert set(done.stdout.split()) == {"kernel", "router"}


# -- each room with only its own extra ---------------------------------------------------------------


def closure(requirements: list[str]) -> dict[str, Distribution]:
    """The distributions that these requirements bring, as this environment has them."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        need, extra = waiting.pop()
        if need.marker is not None and not need.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(need.name)
        for wanted in ("", *need.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            if name == "ramkit":
                waiting += [(Requirement(text), "") for text in EXTRAS.get(wanted, ())]
                continue
            found[name] = distribution(name)
            waiting += [(Requirement(text), wanted) for text in found[name].requires or ()]
    return found


def place(dist: Distribution, site: Path) -> None:
    """Link a distribution's files, and nothing else, into another environment."""
    for file in dist.files or ():
        if ".." in file.parts or "__pycache__" in file.parts:
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file.locate())


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_its_extra_brings(room: str) -> None:
    """Also inside functions, where the import of the whole room would not notice."""
    brought = closure([*CORE, f"ramkit[{room}]"] if room in EXTRAS else CORE)
    owners = packages_distributions()
    files = (PACKAGE / room).rglob("*.py")
    modules = {module for path in files for module in foreign(path) - FRAMEWORKS.get(path.name, set())}
    owned = {module: {canonicalize_name(name) for name in owners.get(module, ())} for module in modules}
    assert {module for module in modules if not owned[module] & brought.keys()} == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, folder], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return folder / done.stdout.split()[-1]


def test_the_wheel_holds_ramkit_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {name for name in names if ".dist-info/" not in name}
    wanted = {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == wanted
    assert "ramkit/py.typed" in inside
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.parametrize("room", ["", *ROOMS, *INNER])
def test_a_room_imports_with_only_its_extra(room: str, wheel: Path, tmp_path: Path) -> None:
    """A fresh environment with ramkit's wheel and what `pip install ramkit[room]` brings along."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    site = next((tmp_path / "env").glob("lib/python*/site-packages"))
    extra = room.partition(".")[0]
    for dist in closure([*CORE, f"ramkit[{extra}]"] if extra in EXTRAS else CORE).values():
        place(dist, site)
    zipfile.ZipFile(wheel).extractall(site)
    code = "import ramkit, ramkit.cli"
    if room:
        code = f"import ramkit.{room} as room; print(room.__file__)\nfrom ramkit.{room} import *"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [tmp_path / "env/bin/python", "-W", "error", "-I", "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not room or done.stdout.startswith(str(site))


# -- public names ------------------------------------------------------------------------------------


def documented(page: Path) -> set[str]:
    """The names in the first column of the table below `## Names`: `Cache`, or `lint.ASGILint`."""
    section = page.read_text(encoding="utf-8").partition("\n## Names\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\|\s*`([\w.]+)[^`]*`", section, re.MULTILINE))


@pytest.mark.parametrize("room", [room for room in [*ROOMS, *INNER] if room not in {"kernel", "demo"}])
def test_public_names_are_those_of_the_docs(room: str) -> None:
    names = documented(ROOT / "docs" / f"{room.rpartition('.')[2]}.md")
    module = importlib.import_module(f"ramkit.{room}")
    assert {name for name in names if "." not in name} == set(module.__all__)
    for name in names:
        owner, _, last = f"ramkit.{room}.{name}".rpartition(".")
        assert hasattr(importlib.import_module(owner), last), name


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_all_names_exist(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            assert len(set(names)) == len(names)
            module = importlib.import_module(".".join(module_of(path)))
            assert [name for name in names if not hasattr(module, name)] == []


# -- size and manners --------------------------------------------------------------------------------


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring not counted."""
    first = function.body[0]
    docstring = 0
    if ast.get_docstring(function) is not None:
        docstring = (first.end_lineno or 0) - first.lineno + 1
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_size(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    functions = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert {f"{node.name}: {length(node)}" for node in functions if length(node) > 40} == set()


@pytest.mark.parametrize("path", [path for path in SOURCES if in_a_room(path)], ids=name_of)
def test_no_assert_validates(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    assert [node.lineno for node in nodes if isinstance(node, ast.Assert)] == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_pickle(path: Path) -> None:
    assert {"pickle", "shelve", "marshal", "dill", "cloudpickle"}.isdisjoint(imports(path))


IGNORE = re.compile(r"#\s*(noqa|type:\s*ignore|pyright:\s*ignore)", re.IGNORECASE)
REASONED = re.compile(
    r"#\s*(noqa:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|(type|pyright):\s*ignore\[[\w,\s-]+\])\s*[-#—:]?\s*\w.{5,}"
)


@pytest.mark.parametrize("path", CHECKED, ids=name_of)
def test_each_ignore_names_its_rule_and_its_reason(path: Path) -> None:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    bare = [
        f"{name_of(path)}:{token.start[0]}: {token.string}"
        for token in comments
        if IGNORE.search(token.string) and not all_reasoned(token.string)
    ]
    assert bare == []


def all_reasoned(comment: str) -> bool:
    """One comment may hold two ignores in a row and then one reason."""
    last = list(IGNORE.finditer(comment))[-1]
    return REASONED.match(comment, last.start()) is not None
