"""An emulator of Vertex tuning, inference, TensorBoard and Cloud Storage on loopback, with a small model behind it.

The real, unmodified Google clients talk to it; nothing here imports them. Every reply carries the header
`x-gemini-tuning-simulated: true`. Alone: `python -m gemini_tuning.emulator --port 8085`.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from .faults import Fault
    from .server import Emulator, Recorded
    from .state import StateBusy

__all__ = ["Emulator", "Fault", "Recorded", "StateBusy"]

# The server pulls numpy in, which `import gemini_tuning` must not.
__getattr__, __dir__ = lazy_exports(
    __name__, {"Emulator": ".server", "Fault": ".faults", "Recorded": ".server", "StateBusy": ".state"}
)
