"""An emulator of Vertex tuning, inference, TensorBoard and Cloud Storage on loopback, with a small model behind it.

The real, unmodified Google clients talk to it; nothing here imports them. Every reply carries the header
`x-gemini-tuning-simulated: true`. Alone: `python -m gemini_tuning.emulator --port 8085`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .faults import Fault
    from .server import Emulator, Recorded
    from .state import StateBusy

__all__ = ["Emulator", "Fault", "Recorded", "StateBusy"]

_HOMES = {"Emulator": "server", "Fault": "faults", "Recorded": "server", "StateBusy": "state"}


def __getattr__(name: str) -> object:
    # The server pulls numpy in, which `import gemini_tuning` must not.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
