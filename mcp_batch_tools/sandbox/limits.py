"""A limit of requests a minute, as a bucket that fills steadily, and the headers that tell how full it is."""

from datetime import datetime, timedelta
from math import ceil

_ROUNDING = 1e-6  # who waits as long as was asked must pass, whatever the fractions add up to


class RateLimit:
    """`requests_per_minute` may pass at once, and come back evenly within a minute."""

    def __init__(self, requests_per_minute: int) -> None:
        self._limit = requests_per_minute
        self._left = float(requests_per_minute)
        self._seen: datetime | None = None

    def admits(self, now: datetime) -> bool:
        """Count one request, where one more may pass."""
        if self._seen is not None:
            passed = (now - self._seen).total_seconds()
            self._left = min(self._limit, self._left + passed * self._limit / 60)
        self._seen = now
        admitted = self._left >= 1 - _ROUNDING
        self._left -= admitted
        return admitted

    def headers(self, now: datetime, *, admitted: bool) -> dict[str, str]:
        """What is left, and for a request that was not admitted the seconds until one may pass."""
        full = now + timedelta(seconds=(self._limit - self._left) * 60 / self._limit)
        headers = {
            "anthropic-ratelimit-requests-limit": str(self._limit),
            "anthropic-ratelimit-requests-remaining": str(int(self._left + _ROUNDING)),
            "anthropic-ratelimit-requests-reset": f"{full:%Y-%m-%dT%H:%M:%SZ}",
        }
        if not admitted:
            headers["retry-after"] = str(max(1, ceil((1 - self._left - _ROUNDING) * 60 / self._limit)))
        return headers
