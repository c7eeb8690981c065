"""The rules of the house: who imports what, and that an import only defines."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ksl_bench"
MODULES = sorted(PACKAGE.rglob("*.py"))

OWNERS = {
    "ray": {"cluster", "jobs", "sweep"},
    "mlflow": {"tracking"},
    "deepspeed": {"training"},
    "jinja2": {"report"},
    "matplotlib": {"report"},
    "py3langid": {"tasks"},
}

ORDER = [
    ["errors"],
    ["auth", "likeness", "registry", "significance"],
    ["config", "detection_corpus", "measure", "tiny_base", "tiny_base_five"],
    ["storage"],
    ["data", "store"],
    ["detection", "lottery"],
    ["methods"],
    ["tasks"],
    ["models"],
    ["training"],
    ["evaluation", "leaks"],
    ["plan"],
    ["pack", "suite", "preflight"],
    ["space"],
    ["worker", "estimate", "tickets", "audit"],
    ["pool", "ready"],
    ["benchmark", "in_process"],
    ["cleaning", "desk", "leaderboard", "display", "sharing", "trials"],
    ["cluster", "jobs"],
    ["sweep"],
    ["report"],
    ["tracking"],
    ["base_card"],
    ["describe", "doctor", "runner", "make_detection_corpus", "make_tiny_base"],
    ["sweeper"],
    ["cli"],
]
"""From the ground up: a floor imports only from those below it, or from its own room."""


def name_of(path: Path) -> str:
    return ".".join(["ksl_bench", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(
        ".__init__"
    )


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("library", sorted(OWNERS))
@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_library_is_imported_only_in_its_own_room(path, library):
    room = path.relative_to(PACKAGE).parts[0]
    if room not in OWNERS[library]:
        used = {one for one in imports_of(path) if one.split(".")[0] == library}
        assert not used


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path):
    floors = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if room == "__init__":
        return
    for imported in imports_of(path):
        parts = imported.split(".")
        if parts[0] == "ksl_bench" and len(parts) > 1 and parts[1] in floors and parts[1] != room:
            assert floors[parts[1]] < floors[room], f"{room} imports {parts[1]}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_body_only_defines(path):
    """No calls for their effect, no loops, no prints at import time."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Expr):
            assert isinstance(node.value, ast.Constant), ast.unparse(node)
        elif isinstance(node, ast.If):
            assert "__name__" in ast.unparse(node.test) or "TYPE_CHECKING" in ast.unparse(node.test)
        else:
            allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef)
            assert isinstance(node, (*allowed, ast.ClassDef, ast.AsyncFunctionDef)), ast.unparse(
                node
            )


def test_importing_everything_prints_nothing_and_starts_nothing():
    names = [name_of(path) for path in MODULES]
    code = (
        "import threading, importlib, sys\n"
        f"[importlib.import_module(name) for name in {names!r}]\n"
        "import ray\n"
        "assert not ray.is_initialized()\n"
        "assert 'deepspeed' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("ksl_bench.cli", "torch"),
        ("ksl_bench.cluster.shared", "torch"),
        ("ksl_bench.cluster.rendezvous, ksl_bench.desk", "transformers"),
        ("ksl_bench.desk", "scipy.stats"),
    ],
)
def test_what_needs_no_model_starts_without_its_code(modules, absent):
    """The look at the storage, the desk and Ray Train's controllers are processes of their own."""
    code = f"import sys, {modules}\nassert {absent!r} not in sys.modules"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
