"""The command line: `serve` (the default), `demo`, `sandbox`, `check` and `receipts`."""

import argparse
import logging
import math
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal, get_args, get_origin

import anyio

from mcp_batch_tools import __version__
from mcp_batch_tools.api.errors import BatchError
from mcp_batch_tools.clock import from_milliseconds
from mcp_batch_tools.ledger.errors import LedgerError
from mcp_batch_tools.printing import print_json, print_table
from mcp_batch_tools.server import client_of, create_server
from mcp_batch_tools.settings import Settings, SettingsError, flag_names, variable_of
from mcp_batch_tools.stdio import run

_COMMANDS = {
    "serve": "serve MCP over standard input and output (the default)",
    "demo": "watch a batch being canceled and deleted, on a sandbox",
    "sandbox": "serve a stand-in for the API on a local port, for any SDK",
    "check": "say which key, address and options are in force, and whether the API answers",
    "receipts": "show what was created, canceled and deleted through this installation, and how it was consented to",
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
    of_receipts = {name: options.pop(name, None) for name in ("json", "since", "message_batch_id", "limit")}
    settings = Settings.load(**options)
    _log_to_stderr(settings)
    if command == "receipts":
        return _receipts(settings, of_receipts)
    if command == "check":
        return anyio.run(_check, settings)
    # The SDK reads standard input in a thread that only the end of the input stops: Ctrl-C would wait for it. Ending at
    # once loses nothing, since receipts are written before an act.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        run(create_server(settings))
    except* BrokenPipeError:
        print("mcp-batch-tools: the client is gone.", file=sys.stderr)
    finally:
        signal.signal(signal.SIGINT, before)
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
            _add_settings(command, flag_names())
        elif name == "receipts":
            _add_settings(command, ["sandbox", "state_dir"])
            command.add_argument("--json", action="store_true", help="as JSON, one array")
            command.add_argument("--since", type=_time, metavar="TIME", help="only from this time on (ISO 8601; UTC)")
            command.add_argument("--batch", dest="message_batch_id", metavar="ID", help="only those of this batch")
            command.add_argument("--limit", type=_positive, metavar="N", help="only the newest N")
        elif name == "sandbox":
            command.add_argument("--port", type=_port, default=8787, help="port on 127.0.0.1 (default: 8787)")
            command.add_argument(
                "--processing-seconds", type=_seconds, default=5.0, help="how long a batch takes (default: 5)"
            )
    return parser


def _add_settings(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """A flag for each of these settings; what is not given is left to the environment."""
    for name in names:
        field = Settings.model_fields[name]
        flag = f"--{name.replace('_', '-')}"
        help_text = f"{field.description} (default: {field.default}; {variable_of(name)})".replace("%", "%%")
        if field.annotation is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=help_text)
        else:
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else None
            parser.add_argument(flag, choices=choices, default=argparse.SUPPRESS, help=help_text)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a time looks like 2026-11-03 or 2026-11-03T09:00:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        raise argparse.ArgumentTypeError("not a number from 1 to 1,000,000,000")
    return int(text)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError("seconds are a number from 0 on")
    return seconds


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
    try:
        serve(sandbox, port=port)
    except OSError as error:
        print(f"mcp-batch-tools: port {port} cannot be used: {error.strerror}.", file=sys.stderr)
        return 1
    return 0


async def _check(settings: Settings) -> int:
    """Print what is in force and ask the API for one batch: 0 where it answers, 1 otherwise."""
    from mcp_batch_tools.tools.words.calls import Call  # a server needs them only once something fails
    from mcp_batch_tools.tools.words.failures import explain

    print(f"credentials  {settings.key_source or 'none'}")
    if settings.sandbox:
        print("address      the sandbox in this process")
    else:
        if settings.api_key and settings.auth_token:
            print("             ANTHROPIC_AUTH_TOKEN is set too, and not used")
        print(f"address      {settings.base_url}")
        if settings.base_url.startswith("http://"):
            print("             plain http: the key travels unencrypted")
        if settings.base_url.endswith("/v1"):
            print("             it ends in /v1, which is added to it: remove that")
    print(f"version      {settings.anthropic_version}")
    print(f"policy       {'read-only' if settings.read_only else f'destructive: {settings.destructive}'}")
    for line in _questions(settings):
        print(f"             {settings.redact(line)}")
    most = "none" if settings.max_cost_usd is None else f"{settings.max_cost_usd:g} USD"
    print(f"costs        asked about above {settings.ask_above_usd:g} USD, most for one create: {most}")
    print(f"requests     {settings.requests_dir or 'the home folder'}")
    print(f"results      {settings.results_dir or 'message-batch-results in the documents folder'}")
    print(f"prices       {settings.prices or 'built in'}")
    print(f"receipts     {settings.ledger_folder}")
    print(f"log level    {settings.log_level}")
    try:
        async with client_of(settings) as client:
            await client.list(limit=1)
    except BatchError as error:
        print(settings.redact(f"Not working. {explain(error, Call('check', {}, settings.key_source))}"))
        return 1
    print("Working: the API answered.")
    return 0


def _questions(settings: Settings) -> Iterator[str]:
    """What the policy means for the clients of this installation, as far as its ledger knows them."""
    from mcp_batch_tools.ledger.confirmations import last_unseen_question
    from mcp_batch_tools.tools.answers import format_time

    if settings.read_only or settings.destructive not in {"ask", "require"}:
        return
    unable = "its own dialog decides" if settings.destructive == "ask" else "nothing is done"
    yield f"a client that can ask is asked; where one says that it cannot, {unable}"
    try:
        last = last_unseen_question(settings.ledger_folder)
    except LedgerError as error:
        yield f"which clients did not show a question cannot be told: {error}"
        return
    if last is not None:
        time, client, why = last
        yield f"{client or 'a client'} showed no question on {format_time(from_milliseconds(time))}: {why}"
        then = "the assistant asks in the conversation" if settings.destructive == "ask" else "nothing is done"
        yield f"then {then}"


def _receipts(settings: Settings, options: Mapping[str, Any]) -> int:
    """Print receipts, oldest first, as a table or as JSON, one after the other."""
    from mcp_batch_tools.ledger.database import FILE
    from mcp_batch_tools.ledger.receipts import read_receipts
    from mcp_batch_tools.tools.words.calls import Call
    from mcp_batch_tools.tools.words.failures import explain

    chosen = {name: options[name] for name in ("since", "message_batch_id", "limit") if options.get(name) is not None}
    receipts = read_receipts(settings.ledger_folder, **chosen)
    try:
        if options.get("json"):
            print_json(receipts)
            return 0
        first = next(receipts, None)
        if first is None:
            where = settings.ledger_folder / FILE
            print(f"No receipts {'that match ' if chosen else 'yet '}in {where}.")
            return 0
        print_table(chain([first], receipts))
    except LedgerError as error:
        print(f"mcp-batch-tools: {explain(error, Call('receipts'))}", file=sys.stderr)
        return 1
    return 0
