"""Clients that speak to a model's API themselves: the model is scripted, and its user approves the server's tools."""

import json
from pathlib import Path

from tests.clients.endpoint import served_model
from tests.clients.environments import environment, node_of
from tests.clients.gemini_model import ScriptedGemini
from tests.clients.messages_model import ScriptedModel
from tests.clients.programs.agent import Task
from tests.clients.responses_model import ScriptedResponses
from tests.clients.running import Report, output_of, output_of_python

NAME = "batches"


def claude_code(task: Task, home: Path) -> Report:
    """Claude Code with `-p`."""
    program = environment("claude-code") / "node_modules" / "@anthropic-ai" / "claude-code-linux-x64" / "claude"
    servers = {"mcpServers": {NAME: {"type": "stdio", **task.server}}}
    model = ScriptedModel(task.agent(), f"mcp__{NAME}__")
    with served_model(model) as address:
        output_of(
            [
                str(program), "-p", "Delete the batch.", "--mcp-config", json.dumps(servers), "--strict-mcp-config",
                "--allowedTools", f"mcp__{NAME}",
            ],
            home, ANTHROPIC_BASE_URL=address, ANTHROPIC_API_KEY="of-a-scripted-model",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        )  # fmt: skip
    return Report(**model.agent.report(tools=model.tools))


def gemini_cli(task: Task, home: Path) -> Report:
    """Gemini CLI with `-p`."""
    folder = environment("gemini-cli")
    (home / ".gemini").mkdir(parents=True)
    settings = {"mcpServers": {NAME: task.server}, "security": {"auth": {"selectedType": "gemini-api-key"}}}
    (home / ".gemini" / "settings.json").write_text(json.dumps(settings))
    model = ScriptedGemini(task.agent(), f"mcp_{NAME}_")
    with served_model(model) as address:
        output_of(
            [
                node_of(folder), str(folder / "node_modules" / "@google" / "gemini-cli" / "bundle" / "gemini.js"),
                "-p", "Delete the batch.", "--approval-mode", "yolo", "--skip-trust", "--model", "gemini-2.5-pro",
            ],
            home, GOOGLE_GEMINI_BASE_URL=address, GEMINI_API_KEY="of-a-scripted-model",
        )  # fmt: skip
    return Report(**model.agent.report(tools=model.tools))


def codex(task: Task, home: Path) -> Report:
    """Codex with `exec`."""
    package = environment("codex") / "node_modules" / "@openai" / "codex-linux-x64"
    model = ScriptedResponses(task.agent(), f"mcp__{NAME}")
    with served_model(model) as address:
        provider = {"name": "scripted", "base_url": f"{address}/v1", "env_key": "SCRIPTED_KEY", "wire_api": "responses"}
        settings = {
            "model_provider": "scripted",
            **{f"model_providers.scripted.{name}": value for name, value in provider.items()},
            **{f"mcp_servers.{NAME}.{name}": value for name, value in task.server.items() if name != "env"},
            **{f"mcp_servers.{NAME}.env.{name}": value for name, value in task.server["env"].items()},
            f"mcp_servers.{NAME}.default_tools_approval_mode": "approve",
            f"mcp_servers.{NAME}.required": True,  # or its model may search before the server has started
        }
        options = [f"--config={name}={json.dumps(value)}" for name, value in settings.items()]
        program = next(package.glob("vendor/*/bin/codex"))
        output_of([str(program), "exec", "--skip-git-repo-check", *options, "Delete it."], home, SCRIPTED_KEY="any")
    return Report(**model.agent.report(tools=model.tools))


def google_genai(task: Task, home: Path) -> Report:
    """google-genai, whose functions are called without asking."""
    model = ScriptedGemini(task.agent(), prefix="")
    with served_model(model) as address:
        output_of_python("google-genai", "google_client.py", task, home, address)
    return Report(**model.agent.report(tools=model.tools))
