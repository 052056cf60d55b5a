"""Tokens that results say were used, by what is paid for them."""

from dataclasses import dataclass


@dataclass(slots=True)
class Tokens:
    """Tokens of one model, by what is paid for them."""

    input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    cache_read: int = 0
    output: int = 0

    def add(self, other: "Tokens") -> None:
        """Add up."""
        self.input += other.input
        self.cache_write_5m += other.cache_write_5m
        self.cache_write_1h += other.cache_write_1h
        self.cache_read += other.cache_read
        self.output += other.output
