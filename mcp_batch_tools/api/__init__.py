"""The Message Batches API: a typed client, its exchange over HTTP, and text made harmless. No MCP."""
