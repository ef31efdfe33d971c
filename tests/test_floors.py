"""The house of the package: which room may import from which."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the ground up. A file may import from its own floor and from any floor below.
FLOORS = (
    ("convert.reading", "ms_seg.cells", "ms_seg.label_sets"),
    ("convert", "ms_seg.presets", "ms_seg.distributed"),
    ("ms_seg.hub",),
    ("ms_seg.backbones", "ms_seg.text", "ms_seg.decoders"),
    ("ms_seg.systems", "ms_seg.data"),
    ("ms_seg.postprocessing",),
    ("ms_seg.answers",),
    ("ms_seg.checkpoints", "ms_seg.inference", "ms_seg.deploy"),
    ("ms_seg.evaluation", "ms_seg.serving"),
    ("ms_seg.training",),
    ("ms_seg",),  # the public face
    ("ms_seg.__main__", "ms_seg.commands", "ms_seg.modelscope", "convert.__main__"),
)
ROOMS = {room: number for number, floor in enumerate(FLOORS) for room in floor}
FILES = sorted(path for package in ("ms_seg", "convert") for path in (ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor_of(module: str) -> int:
    """The floor of the room whose name is the longest that the module's name begins with."""
    names = [module.rsplit(".", cut)[0] if cut else module for cut in range(module.count(".") + 1)]
    return next(ROOMS[name] for name in names if name in ROOMS)


def imports_of(path: Path) -> set[str]:
    """Every module the file imports, in functions and for type checkers too."""
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.split(".")[0] in ("ms_seg", "convert")}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_run_downwards(path: Path):
    module = module_of(path)
    upwards = [name for name in ours(imports_of(path)) if floor_of(name) > floor_of(module)]
    assert not upwards, f"{module} imports from a higher floor: {upwards}"


def test_imports_go_in_no_circle():
    graph = {module_of(path): ours(imports_of(path)) - {module_of(path)} for path in FILES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", [path for path in FILES if module_of(path).startswith("convert")], ids=module_of)
def test_convert_knows_neither_the_package_nor_a_framework(path: Path):
    known = {"ms_seg"} if module_of(path) == "convert.__main__" else set()
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert not roots & {"ms_seg", "torch", "mindspore"} - known


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_pickle_and_pytorch_are_never_imported(path: Path):
    assert not {name.split(".")[0] for name in imports_of(path)} & {"pickle", "dill", "torch"}
