"""The command line and the settings, without a subprocess."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from mcp_batch_tools.cli import main
from mcp_batch_tools.sandbox import Fault, Sandbox
from mcp_batch_tools.settings import Settings, SettingsError
from tests.conftest import KEY
from tests.support.serving import served

Set = pytest.MonkeyPatch


@pytest.fixture
def address() -> Iterator[str]:
    with served(Sandbox(keys={KEY: "wrkspc_1"})) as url:
        yield url


def test_an_unknown_variable_stops_the_start_with_the_known_ones(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MCP_BATCH_TOOLS_LOGLEVEL", "debug")
    assert main([]) == 2
    shown = capsys.readouterr()
    assert "MCP_BATCH_TOOLS_LOGLEVEL" in shown.err
    assert "MCP_BATCH_TOOLS_LOG_LEVEL" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("MCP_BATCH_TOOLS_LOG_LEVEL", "loud", "(--log-level) cannot be used: input should be 'debug'"),
        ("ANTHROPIC_BASE_URL", "ftp://host", "must be an http or https address"),
        ("ANTHROPIC_BASE_URL", "https://", "must be an http or https address"),
        ("ANTHROPIC_BASE_URL", f"https://user:{KEY}@host", "must be an http or https address"),
        ("ANTHROPIC_API_KEY", f"{KEY} {KEY}", "character that no key has"),
        ("ANTHROPIC_AUTH_TOKEN", f"{KEY}\x01", "character that no key has"),
        ("MCP_BATCH_TOOLS_ANTHROPIC_VERSION", "2026\r\nx: y", "must be a date"),
    ],
)
def test_a_value_that_cannot_be_used_is_told_in_one_sentence_that_does_not_repeat_it(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str], variable: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["check"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"mcp-batch-tools: {variable}")
    assert problem in error
    assert error.count("\n") == 1
    assert KEY not in error


def test_a_pasted_key_loses_its_newline_and_an_empty_one_is_none(monkeypatch: Set) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", f" {KEY}\n")
    loaded = Settings.load()
    assert loaded.api_key is not None
    assert loaded.api_key.get_secret_value() == KEY
    assert KEY not in repr(loaded)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "  ")
    assert Settings.load().key_source is None


@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"])
@pytest.mark.parametrize("around", ["'{}'", '"{}"', "`{}`", '" {}\n"', "\t{}\r\n"])
def test_a_key_is_sent_without_the_quotes_that_it_was_pasted_in(monkeypatch: Set, variable: str, around: str) -> None:
    monkeypatch.setenv(variable, around.format(KEY))
    loaded = Settings.load()
    secret = loaded.api_key or loaded.auth_token
    assert secret is not None
    assert secret.get_secret_value() == KEY
    assert loaded.key_source == variable


@pytest.mark.parametrize("variable", ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "MCP_BATCH_TOOLS_RESULTS_DIR"])
@pytest.mark.parametrize(
    "left_over",
    ["${ANTHROPIC_API_KEY}", "${user_config.api_key}", " ${env:KEY} ", "'${KEY}'", '"${KEY}"', "${}", '""', "''", " "],
)
def test_a_literal_that_a_bundle_has_left_counts_as_not_set(monkeypatch: Set, variable: str, left_over: str) -> None:
    monkeypatch.delenv("MCP_BATCH_TOOLS_RESULTS_DIR")
    monkeypatch.setenv(variable, left_over)
    loaded = Settings.load()
    assert loaded.key_source is None
    assert loaded.results_dir is None


@pytest.mark.parametrize("key", [f"Bearer {KEY}", f"x-api-key: {KEY}", f"{KEY}\u2026", f'{KEY}"{KEY}'])
def test_a_key_with_what_no_key_has_is_refused_without_repeating_it(monkeypatch: Set, key: str) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", key)
    with pytest.raises(SettingsError, match="ANTHROPIC_API_KEY cannot be used") as refused:
        Settings.load()
    assert KEY not in str(refused.value)


def test_a_flag_wins_over_its_variable(monkeypatch: Set) -> None:
    monkeypatch.setenv("MCP_BATCH_TOOLS_LOG_LEVEL", "error")
    assert Settings.load().log_level == "error"
    assert Settings.load(log_level="debug").log_level == "debug"
    with pytest.raises(SettingsError, match="LOG_LEVEL"):
        Settings.load(log_level="loud")


@pytest.mark.parametrize(
    "argv", [["--nonsense"], ["check", "extra"], ["sandbox", "--port", "70000"], ["serve", "--api-key", "x"]]
)
def test_a_wrong_command_line_is_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    assert "usage:" in capsys.readouterr().err


def test_help_and_version_are_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["serve", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "--log-level" in shown
    assert "--api-key" not in shown


def test_check_says_what_is_in_force_and_that_it_works(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "other-token-1234")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", address)
    assert main(["check"]) == 0
    shown = capsys.readouterr().out
    assert "credentials  ANTHROPIC_API_KEY\n" in shown
    assert f"address      {address}\n" in shown
    assert "ANTHROPIC_AUTH_TOKEN is set too, and not used" in shown
    assert "plain http" in shown
    assert "Working: the API answered." in shown
    assert KEY not in shown


def test_check_works_with_a_token_and_on_the_sandbox(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    assert main(["check", "--sandbox"]) == 0
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", address)
    assert main(["check"]) == 0
    assert "credentials  ANTHROPIC_AUTH_TOKEN\n" in capsys.readouterr().out


def test_check_tells_a_missing_key_and_a_refused_key_apart(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    assert main(["check"]) == 1
    assert "Not working. No API key is configured. Set ANTHROPIC_API_KEY" in capsys.readouterr().out
    monkeypatch.setenv("ANTHROPIC_BASE_URL", address)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-some-other-key")
    assert main(["check"]) == 1
    shown = capsys.readouterr().out
    assert "Not working. The Anthropic API answered list with HTTP 401 authentication_error: " in shown
    assert "Check ANTHROPIC_API_KEY; " in shown
    assert "sk-ant-some-other-key" not in shown


def test_check_tells_the_ways_of_not_being_reached_apart(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str], address: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)

    def last_line(url: str) -> str:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        assert main(["check"]) == 1
        return capsys.readouterr().out.splitlines()[-1]

    assert "no connection could be made" in last_line("http://127.0.0.1:1")
    assert "could not be resolved" in last_line("http://no-such-host.invalid")
    assert "no trusted TLS connection" in last_line(address.replace("http://", "https://"))
    assert "HTTP 404" in last_line(f"{address}/elsewhere")
    with self_signed(tmp_path) as url:
        assert "SSL_CERT_FILE where a private certificate is used" in last_line(url)
    monkeypatch.setenv("HTTPS_PROXY", address)
    assert "HTTPS_PROXY" in last_line("https://api.anthropic.invalid")


class self_signed:  # noqa: N801  reads as what it is
    """A TLS server with a certificate that nobody trusts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> str:
        import threading

        key, certificate = self._folder / "key.pem", self._folder / "certificate.pem"
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=127.0.0.1",
                "-days",
                "1",
                "-addext",
                "subjectAltName=IP:127.0.0.1",
                "-keyout",
                key,
                "-out",
                certificate,
            ],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._socket = socket.create_server(("127.0.0.1", 0))

        def accept() -> None:
            while True:
                try:
                    plain, _ = self._socket.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as secured:
                        secured.recv(1)
                except OSError:
                    plain.close()

        self._thread = threading.Thread(target=accept, daemon=True)
        self._thread.start()
        return f"https://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (
            Fault(status=403, message="No."),
            'HTTP 403 permission_error: "No."',
        ),
        (Fault(status=402), 'answered list with HTTP 402 billing_error: "Your credit balance is too low'),
        (Fault(status=404, body=b"<html>"), "without a message"),
        (Fault(body=b"<html>hello</html>"), "the body is not what the API promises"),
    ],
)
def test_check_says_what_an_answer_that_is_no_list_means(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str], fault: Fault, problem: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    sandbox = Sandbox()
    sandbox.faults.append(fault)
    with served(sandbox) as url:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", url)
        assert main(["check"]) == 1
    assert problem in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"ALL_PROXY": "http://u:pass-word@127.0.0.1:99999"}, "the proxy cannot be used"),
        ({"ALL_PROXY": "socks5://u:pass-word@127.0.0.1:1"}, "mcp-batch-tools[socks]"),
        ({"ALL_PROXY": "ftp://u:pass-word@127.0.0.1:1"}, "the proxy cannot be used"),
    ],
)
def test_check_says_what_is_wrong_with_a_proxy_in_one_line_without_its_password(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str], variables: dict[str, str], problem: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["check"]) == 1
    shown = capsys.readouterr()
    lines = (shown.out + shown.err).splitlines()
    assert lines[-1].startswith("Not working. ")
    assert problem in lines[-1]
    assert len(lines) <= 15
    assert "pass-word" not in shown.out + shown.err


def test_check_names_an_address_that_ends_in_v1(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"{address}/v1")
    assert main(["check"]) == 1
    shown = capsys.readouterr().out
    assert "it ends in /v1, which is added to it: remove that" in shown
    assert "without /v1" in shown.splitlines()[-1]


def test_receipts_that_cannot_be_read_are_one_line_on_standard_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "ledger.db").write_text("no database")
    assert main(["receipts", "--state-dir", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("mcp-batch-tools: The receipts cannot be read from ")
    assert shown.err.count("\n") == 1


def test_check_says_that_no_answer_came_in_time(monkeypatch: Set, capsys: pytest.CaptureFixture[str]) -> None:
    async def late(*_: object) -> httpx2.Response:
        raise httpx2.ReadTimeout("late")

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", late)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    assert main(["check"]) == 1
    assert "no answer came in time. Run this command again" in capsys.readouterr().out


def test_the_log_of_check_goes_to_standard_error_without_the_key(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"{address}/{KEY}")
    assert main(["check", "--log-level", "info"]) == 1
    shown = capsys.readouterr()
    assert "HTTP Request: GET" in shown.err
    assert "[redacted]" in shown.err
    assert "HTTP Request" not in shown.out
    assert KEY not in shown.err


def test_the_server_ends_with_its_input_at_status_0(monkeypatch: Set, capfd: pytest.CaptureFixture[str]) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        assert main(["serve", "--sandbox"]) == 0
    assert capfd.readouterr() == ("", "")


def test_the_demo_ends_at_status_0(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    assert "All steps went as told." in capfd.readouterr().out


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_the_sandbox_says_its_address_serves_any_key_and_ends_at_status_130_with_ctrl_c(monkeypatch: Set) -> None:
    reading, writing = os.pipe()
    seen: list[httpx2.Response] = []

    def use() -> None:
        with os.fdopen(reading) as announced:
            address = announced.readline().split(" at ")[1].split(" (")[0]
        headers = {"x-api-key": "any", "anthropic-version": "2026-10-21"}
        seen.append(httpx2.get(f"{address}/v1/messages/batches", headers=headers))
        os.kill(os.getpid(), signal.SIGINT)

    user = threading.Thread(target=use)
    user.start()
    with os.fdopen(writing, "w", buffering=1) as announcing, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", announcing)
        status = main(["sandbox", "--port", "0", "--processing-seconds", "1"])
    user.join(60)
    assert status == 130
    assert [answer.status_code for answer in seen] == [200]


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--read-only", "--destructive", "allow"], "--destructive allow would do nothing"),
        (["--state-dir", "~nobody-of-that-name/x"], "names a user that there is not"),
    ],
)
def test_options_that_make_no_sense_together_or_alone_stop_the_start_with_one_sentence(
    capsys: pytest.CaptureFixture[str], flags: list[str], problem: str
) -> None:
    assert main(["check", *flags]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


def test_read_only_beside_block_is_no_contradiction(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--sandbox", "--read-only", "--destructive", "block"]) == 0
    assert "policy       read-only" in capsys.readouterr().out


def test_check_shows_what_limits_the_spending_and_where_files_go(
    monkeypatch: Set, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MCP_BATCH_TOOLS_MAX_COST_USD", "3")
    flags = ["--ask-above-usd", "7.5", "--results-dir", str(tmp_path / "here"), "--requests-dir", str(tmp_path)]
    assert main(["check", "--sandbox", *flags]) == 0
    told = capsys.readouterr().out
    assert "asked about above 7.5 USD, most for one create: 3 USD" in told
    assert f"results      {tmp_path / 'here'}" in told
    assert f"requests     {tmp_path}\n" in told
