"""A stand-in for the Message Batches API: an ASGI app with a state machine, a clock and faults that a script can set.

It imports nothing of the rest of the package: a wrong field would otherwise pass on both sides. Where nobody has seen
how the API answers, the choice made here stands in `refusals.py` and nowhere else.
"""

from mcp_batch_tools.sandbox.app import Received, Sandbox
from mcp_batch_tools.sandbox.clock import Clock, SystemClock
from mcp_batch_tools.sandbox.faults import ConnectionCut, Fault
from mcp_batch_tools.sandbox.serving import serve

__all__ = ["Clock", "ConnectionCut", "Fault", "Received", "Sandbox", "SystemClock", "serve"]
