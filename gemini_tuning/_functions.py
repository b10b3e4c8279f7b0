"""What a user's function is, for keys and records: a name and a hash, never a pickle."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import re
import textwrap
import types
from typing import Any


def function_name(function: Any) -> str:
    """`module:qualname` of a function, of what a partial or bound method wraps, or of a callable object's class."""
    target = _target(function)
    return f"{target.__module__}:{target.__qualname__}"


def function_hash(function: Any) -> str:
    """64 hex digits over what the function does and holds; the same in every process.

    What it does: its syntax tree, so that comments and layout do not count; for a lambda, or without source, its byte
    code. What it holds: closure, defaults, arguments of a partial, state of an object, and the plain values among the
    globals that it reads.
    """
    target = _target(function)
    parts: list[str] = [function_name(function)]
    if isinstance(target, type):
        parts.append(_tree(target))
        parts.append(_stable(getattr(function, "__dict__", None) or _slots(function)))
    elif inspect.isfunction(target):
        parts.append(_does(target))
        parts.append(_stable((target.__defaults__, target.__kwdefaults__)))
        held = inspect.getclosurevars(target)
        parts.append(_stable({name: _held(value) for name, value in sorted(held.nonlocals.items())}))
        plain = {name: value for name, value in sorted(held.globals.items()) if isinstance(value, _PLAIN)}
        parts.append(_stable(plain))
    if isinstance(function, functools.partial):
        parts.append(_stable((function.args, sorted(function.keywords.items()))))
    if isinstance(function, types.MethodType):
        parts.append(_stable(getattr(function.__self__, "__dict__", repr(function.__self__))))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()


_PLAIN = (str, bytes, int, float, bool, tuple, frozenset, list, set, dict, type(None))


def _target(function: Any) -> Any:
    if isinstance(function, functools.partial):
        return _target(function.func)
    if isinstance(function, types.MethodType):
        return function.__func__
    if inspect.isfunction(function):
        return inspect.unwrap(function)
    return function if inspect.isbuiltin(function) else type(function)


def _does(target: types.FunctionType) -> str:
    return _tree(target) if target.__name__ != "<lambda>" else _code(target.__code__)


def _tree(target: Any) -> str:
    """The syntax tree of a definition; byte code or the bare name where there is no source."""
    try:
        return ast.dump(ast.parse(textwrap.dedent(inspect.getsource(target))))
    except (OSError, TypeError, SyntaxError):
        code = getattr(target, "__code__", None)
        return _code(code) if code is not None else target.__qualname__


def _code(code: types.CodeType) -> str:
    constants = [_code(each) if isinstance(each, types.CodeType) else _stable(each) for each in code.co_consts]
    return repr((code.co_code, code.co_names, constants))


def _held(value: Any) -> Any:
    return function_hash(value) if inspect.isfunction(value) else value


def _slots(value: Any) -> dict[str, Any]:
    names = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
    return {name: getattr(value, name, None) for name in names}


def _stable(value: object) -> str:
    """A repr without memory addresses and without the order of sets, which change from process to process."""
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(_stable, value)))}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_stable(key)}: {_stable(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_stable, value))}]"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
