"""From what users write as `backend=` to a backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from ..errors import ConfigError
from .base import Backend


def resolve(backend: Backend | str | None) -> Backend | None:
    """`"offline"` becomes the simulator, a backend stays, None stays (a project may do without)."""
    if backend is None:
        return None
    if isinstance(backend, str):
        if backend != "offline":
            msg = f"unknown backend {backend!r}."
            raise ConfigError(
                msg, hint="'offline', or Vertex('my-project', location='us-central1', staging='gs://my-bucket')",
                code="config-backend",
            )  # fmt: skip
        from .offline import Offline

        return Offline()
    if not callable(getattr(backend, "create_job", None)):
        msg = f"backend={backend!r} is not a backend."
        raise ConfigError(
            msg, hint="'offline', or Vertex('my-project', location=..., staging=...)", code="config-backend"
        )
    return backend


def from_description(parts: Mapping[str, str], *, staging: str | None = None) -> Backend | None:
    """The backend that `describe()` tells of, with application default credentials.

    None for a foreign kind, and for an address that is neither Google's nor this machine's: a working directory that
    somebody else wrote must not decide where credentials are sent.
    """
    from .address import is_loopback
    from .offline import Offline
    from .vertex import Vertex

    if parts.get("kind") == "offline":
        return Offline()
    url = parts.get("base_url")
    if parts.get("kind") == "vertex" and (url is None or is_loopback(url)):
        return cast(
            Backend,
            Vertex(parts["project"], location=parts["location"], staging=staging, base_url=url),
        )
    return None
