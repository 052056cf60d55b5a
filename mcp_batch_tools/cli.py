"""The command line: `serve` (the default), `demo`, `sandbox` and `check`."""

import argparse
import logging
import sys
from collections.abc import Sequence
from typing import Literal, get_args, get_origin

import anyio

from mcp_batch_tools import __version__
from mcp_batch_tools.errors import ApiError, BadAnswer, BatchError, NoAnswer, NotConfigured
from mcp_batch_tools.server import client_of, create_server
from mcp_batch_tools.settings import Settings, SettingsError, flag_names, variable_of

_COMMANDS = {
    "serve": "serve MCP over standard input and output (the default)",
    "demo": "watch a batch being canceled and deleted, on a sandbox",
    "sandbox": "serve a stand-in for the API on a local port, for any SDK",
    "check": "say which key, address and options are in force, and whether the API answers",
}


def main(argv: Sequence[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 failed, 2 wrongly called, 130 interrupted."""
    arguments = list(argv)
    if not arguments or arguments[0] not in {*_COMMANDS, "-h", "--help", "--version"}:
        arguments.insert(0, "serve")
    try:
        options = vars(_parser().parse_args(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)
    command = options.pop("command")
    try:
        return _run(command, options)
    except SettingsError as error:
        print(f"mcp-batch-tools: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(command: str, options: dict[str, object]) -> int:
    match command:
        case "demo":
            from mcp_batch_tools.demo import run_demo

            return anyio.run(run_demo)
        case "sandbox":
            return _sandbox(int(str(options["port"])), float(str(options["processing_seconds"])))
    settings = Settings.load(**options)
    _log_to_stderr(settings)
    if command == "check":
        return anyio.run(_check, settings)
    create_server(settings).run("stdio")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mcp-batch-tools",
        description="An MCP server for Anthropic's Message Batches.",
        epilog="The API key comes from ANTHROPIC_API_KEY, never from a flag.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mcp-batch-tools {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, help_text in _COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text.capitalize(), allow_abbrev=False)
        if name in {"serve", "check"}:
            _add_settings(command)
        elif name == "sandbox":
            command.add_argument("--port", type=_port, default=8787, help="port on 127.0.0.1 (default: 8787)")
            command.add_argument(
                "--processing-seconds", type=float, default=5.0, help="how long a batch takes (default: 5)"
            )
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """One flag for each setting that is no secret; what is not given is left to the environment."""
    for name in flag_names():
        field = Settings.model_fields[name]
        flag = f"--{name.replace('_', '-')}"
        said = f"{field.description} (default: {field.default}; {variable_of(name)})"
        if field.annotation is bool:
            parser.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=said.replace("%", "%%")
            )
        else:
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else None
            parser.add_argument(flag, choices=choices, default=argparse.SUPPRESS, help=said.replace("%", "%%"))


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


class _Redacting(logging.Formatter):
    """Plain lines in which no secret of the settings stands, tracebacks included."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._settings = settings

    def format(self, record: logging.LogRecord) -> str:
        return self._settings.redact(super().format(record))


def _log_to_stderr(settings: Settings) -> None:
    # Before the server is built: the SDK would install a handler of its own where it finds none.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Redacting(settings))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)


def _sandbox(port: int, processing_seconds: float) -> int:
    from mcp_batch_tools.sandbox import Sandbox, serve

    sandbox = Sandbox(processing_seconds=processing_seconds, canceling_seconds=2)
    serve(sandbox, port=port)
    return 0


async def _check(settings: Settings) -> int:
    """Print what is in force and ask the API for one batch: 0 where it answers, 1 otherwise."""
    print(f"credentials  {settings.key_source or 'none'}")
    if settings.api_key and settings.auth_token and not settings.sandbox:
        print("             ANTHROPIC_AUTH_TOKEN is set too, and not used")
    print(f"address      {'the sandbox in this process' if settings.sandbox else settings.base_url}")
    if settings.base_url.startswith("http://") and not settings.sandbox:
        print("             plain http: the key travels unencrypted")
    print(f"version      {settings.anthropic_version}")
    try:
        async with client_of(settings) as client:
            await client.list(limit=1)
    except BatchError as error:
        print(settings.redact(f"Not working: {_wrong(error, settings)}."))
        return 1
    print("Working: the API answered.")
    return 0


def _wrong(error: BatchError, settings: Settings) -> str:
    """What is wrong, for a person, as the rest of one sentence."""
    match error:
        case NotConfigured():
            return "no key is set; set ANTHROPIC_API_KEY, or use --sandbox, which needs none"
        case ApiError(status=401):
            return f"the key from {settings.key_source} was refused (HTTP 401: {error.message.rstrip('.')})"
        case ApiError(status=403):
            return f"the key from {settings.key_source} may not list batches (HTTP 403: {error.message.rstrip('.')})"
        case ApiError():
            said = error.message.rstrip(".") or "without a message of the API, so perhaps from something in between"
            return f"the API answered HTTP {error.status} {error.type}: {said}"
        case NoAnswer(reason="tls"):
            return f"no trusted TLS connection to {settings.base_url}; set SSL_CERT_FILE for a private certificate"
        case NoAnswer(reason="proxy"):
            return "the proxy refused the connection; look at HTTPS_PROXY, ALL_PROXY and NO_PROXY"
        case NoAnswer(reason="name"):
            return f"the name in {settings.base_url} cannot be resolved; look at the network and ANTHROPIC_BASE_URL"
        case NoAnswer(reason="timeout"):
            return f"{settings.base_url} did not answer in time; look at the network or the proxy"
        case NoAnswer():
            return f"no connection to {settings.base_url}; look at the network and ANTHROPIC_BASE_URL"
        case BadAnswer():
            return f"{settings.base_url} answered, but not as the API does; look at ANTHROPIC_BASE_URL"
        case _:
            raise error
