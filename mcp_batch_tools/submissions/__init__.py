"""Sending requests once. Nothing in here knows MCP."""
