"""Lazy exports for package `__init__` files, so that `import gemini_tuning` stays cheap."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType


def lazy_exports(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Module-level `__getattr__` and `__dir__` that import a name's home module on first use.

    Args:
        package: The package's `__name__`.
        homes: Public name -> module that defines it, relative to the package (`".dedup"`).

    The names are mirrored under `TYPE_CHECKING` in each `__init__`, so editors and type checkers see them.
    """

    def __getattr__(name: str) -> object:
        home = homes.get(name)
        if home is None:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value = getattr(importlib.import_module(home, package), name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*homes, *vars(sys.modules[package])})

    class Package(ModuleType):
        # The import system sets a loaded submodule on its package, where the module `dedup` would hide `dedup()`.
        def __setattr__(self, name: str, value: object) -> None:
            if not (name in homes and isinstance(value, ModuleType)):
                super().__setattr__(name, value)

    sys.modules[package].__class__ = Package
    return __getattr__, __dir__
