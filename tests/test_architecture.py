"""The import rows of the design, enforced by walking the syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "gemini_tuning"

# From the top down; a module imports only lower rows, and names on one row are strangers. `demo` stands above
# `project` because it is a user of the library; `datasets` is data; `_lazy` is part of every package's `__init__`.
ROWS: list[set[str]] = [
    {"__main__"},
    {"demo"},
    {"project"},
    {"sweep"},
    {"plan"},
    {"eval", "jobs"},
    {"recipes", "data"},
    {"backend", "ledger"},
    {"emulator", "display", "models", "types", "errors", "datasets"},
    {"_lazy", "_functions"},
]
ROW = {name: at for at, row in enumerate(ROWS) for name in row}
FILES = sorted(ROOT.rglob("*.py"))


def _imports(path: Path) -> list[tuple[str, bool, int]]:
    """(absolute module, at module level, line) of every import, those under TYPE_CHECKING left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ["gemini_tuning", *path.relative_to(ROOT).parts[:-1]]
    found: list[tuple[str, bool, int]] = []

    def visit(node: ast.AST, top: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend((alias.name, top, child.lineno) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                module = ".".join([*base, *([child.module] if child.module else [])])
                found.append((module, top, child.lineno))
                # `from . import loop` names modules, not attributes.
                found.extend((f"{module}.{alias.name}", top, child.lineno) for alias in child.names)
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            visit(child, top and not inside)

    visit(tree, True)
    return found


def _home(path: Path) -> str:
    part = path.relative_to(ROOT).parts[0]
    return part.removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_lower_rows(path: Path) -> None:
    """Each module imports its own package, or rows below its own."""
    home = _home(path)
    if home == "__init__":
        return
    assert home in ROW, f"{home} has no row"
    for module, _, line in _imports(path):
        parts = module.split(".")
        if parts[0] != "gemini_tuning" or len(parts) < 2 or parts[1] not in ROW:
            continue
        assert parts[1] == home or ROW[parts[1]] > ROW[home], f"{path.name}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_google_and_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    """Only backend imports google, and in functions; only backend/retry imports tenacity; the rest is lazy."""
    home = _home(path)
    for module, top, line in _imports(path):
        root, where = module.split(".")[0], f"{path.relative_to(ROOT)}:{line} imports {module}"
        if root in ("google", "google_crc32c"):
            assert home == "backend", where
            assert not top, where
        if root == "tenacity":
            assert path.relative_to(ROOT).as_posix() == "backend/retry.py", where
        if root in ("matplotlib", "pandas", "polars", "pyarrow", "tqdm", "IPython", "scipy", "sklearn"):
            assert not top, where
        if root == "numpy":
            assert home in ("data", "eval", "jobs", "emulator"), where
            assert path.name != "__init__.py", where
        if home == "emulator" and root not in ("numpy", "gemini_tuning"):
            import sys

            assert root in sys.stdlib_module_names, where
        if module.startswith("gemini_tuning.emulator"):
            assert home in ("emulator",), where


def test_the_offline_backend_alone_starts_the_emulator() -> None:
    """No other file of the package names the emulator's module."""
    named = [path for path in FILES if "gemini_tuning.emulator" in path.read_text(encoding="utf-8")]
    outside = {path.relative_to(ROOT).as_posix() for path in named if _home(path) != "emulator"}
    assert outside == {"backend/offline.py"}
