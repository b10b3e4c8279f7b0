"""Where things are: on this machine or at Google, and in which location."""

from __future__ import annotations

from urllib.parse import urlsplit


def is_loopback(url: str | None) -> bool:
    """Whether an address is on this machine."""
    return url is not None and urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def location_of(resource: str) -> str | None:
    """`us-central1` of `projects/p/locations/us-central1/...`, or None for a short name."""
    parts = resource.split("/")
    return parts[3] if len(parts) > 3 and parts[0] == "projects" and parts[2] == "locations" else None
