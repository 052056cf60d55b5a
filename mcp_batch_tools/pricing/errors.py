"""What can be wrong with a list of prices."""

from mcp_batch_tools.errors import Failure


class InvalidPrices(Failure):
    """A list of prices that cannot be used."""
