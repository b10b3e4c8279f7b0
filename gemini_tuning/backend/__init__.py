"""Where work is done: Google Cloud (`Vertex`) or the simulator on this machine (`Offline`), behind one protocol.

The only layer that imports `google.*`, and only inside functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from .base import Backend, JobRequest, JobView
    from .loop import run
    from .offline import Offline
    from .selection import resolve
    from .vertex import Vertex

__all__ = ["Backend", "JobRequest", "JobView", "Offline", "Vertex", "resolve", "run"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Backend": ".base",
        "JobRequest": ".base",
        "JobView": ".base",
        "Offline": ".offline",
        "Vertex": ".vertex",
        "resolve": ".selection",
        "run": ".loop",
    },
)
