"""The tools that a model calls, and the words that they answer with. The only room that knows MCP."""
