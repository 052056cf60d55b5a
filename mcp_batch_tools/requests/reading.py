"""What all ways of reading requests share: limits, and what ends them."""

LONGEST = 32 * 1024 * 1024
"""Bytes of one request: the most that the Messages API takes."""

TOO_LONG = b""
"""Stands for a request that is longer than `LONGEST`."""

MOST_BLANK = 256 * 1024 * 1024
"""Bytes without any request that are read only to find the next one, or the end of a line."""

WHITESPACE = b" \t\r\n"
"""JSON's, which is less than Python's."""


class Unreadable(Exception):
    """Nothing more can be read. The text says why."""
