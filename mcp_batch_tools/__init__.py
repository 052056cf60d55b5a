"""An MCP server for Anthropic's Message Batches: safe to delete with, hard to lose results with.

Importing this package has no side effects. `mcp_batch_tools.server.create_server` builds the server that the
command line runs.
"""

__version__ = "0.1.0"
