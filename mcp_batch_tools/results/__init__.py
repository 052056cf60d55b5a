"""From the API to a whole file, or to a page of results. Nothing in here knows MCP."""
