"""Times as models write them: ISO 8601, dates whose order of parts is clear, and times counted back from now."""

import re
from datetime import UTC, datetime, timedelta

_BACK = re.compile(r"(\d{1,4}) (minute|hour|day|week)s? ago")
_DAYS = {"today": 0, "yesterday": 1}
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y")
"""Dates that can be read in one way only; `05/06/2026` cannot."""
_SECONDS = re.compile(r"(?!20\d{6}$)[\d.]+")
"""Digits that are no compact date: they could be seconds or milliseconds since 1970, or half a date."""
_ISO = re.compile(r"\d{4}-?\d\d-?\d\d(t\d.*| \d\d:.*)?", re.ASCII)
"""A date, alone or with a time. Python takes any character between the two: a zone or a second date for a time."""
_ZONE = re.compile(r" ?(utc|gmt|z)$")


def understood_time(text: str, now: datetime) -> datetime | None:
    """The time that a text names, in UTC where it names no zone; None where it can be read in several ways or not.

    A day stands for its first moment; hours and minutes are counted back from `now`.
    """
    words = " ".join(text.lower().replace(",", " ").split())
    if _SECONDS.fullmatch(words) and words.count(".") < 2:
        return None
    for read in (_iso, _date, _counted_back):
        time = read(words, now)
        if time is not None:
            return time if time.tzinfo else time.replace(tzinfo=UTC)
    return None


def is_exact(text: str) -> bool:
    """Whether a text is a date, or a time with its zone, in ISO 8601, so that nothing had to be understood."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None or len(text) <= len("2026-11-20")
    except ValueError:
        return False


def _iso(words: str, now: datetime) -> datetime | None:
    plain = _ZONE.sub("+00:00" if re.search(r"\dt?\d*:|t\d", words) else "", words)
    if not _ISO.fullmatch(plain):
        return None
    try:
        return datetime.fromisoformat(plain.replace("t", "T"))
    except ValueError:
        return None


def _date(words: str, now: datetime) -> datetime | None:
    day, _, time = _ZONE.sub("", words).partition(" at ")
    if not time and re.search(r" \d{1,2}:\d{2}(:\d{2})?$", day):
        day, _, time = day.rpartition(" ")
    for form in _DATES:
        for of_day in ("", "%H:%M", "%H:%M:%S"):
            try:
                return datetime.strptime(f"{day} {time}".strip(), f"{form} {of_day}".strip())  # noqa: DTZ007  UTC follows
            except ValueError:
                continue
    return None


def _counted_back(words: str, now: datetime) -> datetime | None:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if words == "now":
        return now
    if words in _DAYS:
        return midnight - timedelta(days=_DAYS[words])
    back = _BACK.fullmatch(words)
    if back is None:
        return None
    start = now if back[2] in {"minute", "hour"} else midnight
    return start - timedelta(**{f"{back[2]}s": int(back[1])})
