"""Every option of the server, once: its environment variable, type, default and description.

The command line makes its flags from these fields, and a test holds the README's table against them.
"""

import hashlib
import os
import re
import secrets
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

PREFIX = "MCP_BATCH_TOOLS_"

SANDBOX_NOTE = "This is the sandbox: no real batch is touched, and nothing is billed."

# A shorter "secret" is a word of ordinary text: hiding it would garble answers and protect nothing.
_SHORTEST_SECRET = 8
_AROUND = " \t\r\n'\"`"
_LEFT_OVER = re.compile(r"(\$\{[^}]*\})?")
_KEY = re.compile(r"[!#-\[\]-~]+")  # visible ASCII without the two characters that JSON escapes


def _stripped(value: object) -> object:
    """Keys are pasted, often with a newline or in quotes, which are no part of them."""
    return value.strip(_AROUND) or None if isinstance(value, str) else value


DestructivePolicy = Literal["ask", "require", "allow", "block"]

Secret = Annotated[SecretStr | None, BeforeValidator(_stripped)]

_THIS_SANDBOX = secrets.token_hex(8)  # it ends with this process, and with it all of its batches


class SettingsError(Exception):
    """The settings cannot be used; the text is one sentence that never holds a secret."""


class Settings(BaseModel):
    """The options of the server. Build them with `load`, which explains what is wrong in a sentence."""

    model_config = ConfigDict(validate_by_name=True, extra="forbid", frozen=True)

    api_key: Secret = Field(
        None, validation_alias="ANTHROPIC_API_KEY", description="API key, sent as `x-api-key`. It wins over the token."
    )
    auth_token: Secret = Field(
        None, validation_alias="ANTHROPIC_AUTH_TOKEN", description="Token, sent as `Authorization: Bearer`."
    )
    base_url: str = Field(
        "https://api.anthropic.com", validation_alias="ANTHROPIC_BASE_URL", description="Address of the API."
    )
    anthropic_version: str = Field("2026-10-21", description="Value of the `anthropic-version` header.")
    sandbox: bool = Field(False, description="Serve a fresh sandbox instead of the API; no key is needed.")
    destructive: DestructivePolicy = Field(
        "ask",
        description="Who decides before a delete, a cancel or a costly create: `ask` the person where the client can "
        "ask; `require` it; `allow` without asking; `block` lists no such tool.",
    )
    read_only: bool = Field(False, description="List only the tools that change nothing.")
    state_dir: Path | None = Field(
        None, description="Folder of the receipts; otherwise the state directory of the platform."
    )
    results_dir: Path | None = Field(
        None, description="Folder that results are saved in; otherwise `message-batch-results` in the documents folder."
    )
    requests_dir: Path | None = Field(
        None, description="Folder that files of requests are read from; otherwise the home folder."
    )
    max_cost_usd: float | None = Field(
        None, ge=0, description="Nothing is created that could cost more than this, in USD."
    )
    ask_above_usd: float = Field(
        1.0, ge=0, description="The person is asked before something is created that could cost more than this, in USD."
    )
    prices: Path | None = Field(None, description="File of negotiated rates, which go before the published ones.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="What is logged, to standard error."
    )

    @field_validator("api_key", "auth_token")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _KEY.fullmatch(value.get_secret_value()):
            raise ValueError("holds a space, a quote or another character that no key has")
        return value

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        value = value.strip()
        try:
            parts = urlsplit(value)
            sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:  # its own text may repeat a password
            sound = False
        if not sound or not value.isprintable() or parts.query or parts.fragment or "@" in value:
            raise ValueError("must be an http or https address, without a user name, password or query")
        return value.rstrip("/")

    @field_validator("anthropic_version")
    @classmethod
    def _is_a_version(cls, value: str) -> str:
        if not (value.isascii() and value.replace("-", "").isalnum()):
            raise ValueError("must be a date like 2026-10-21")
        return value

    @field_validator("state_dir", "results_dir", "requests_dir", "prices", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("state_dir", "results_dir", "requests_dir", "prices")
    @classmethod
    def _is_absolute(cls, value: Path | None) -> Path | None:
        try:
            return None if value is None else value.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError("names a user that there is not") from error

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.read_only and "destructive" in self.model_fields_set and self.destructive != "block":
            raise ValueError(
                f"--read-only lists no destructive tool, so --destructive {self.destructive} would do nothing: "
                "leave one of them out"
            )
        return self

    @classmethod
    def load(cls, **flags: object) -> Self:
        """Read the environment, with `flags` (field names) winning over it.

        A variable counts as not set where it is empty, or exactly `${NAME}`, as bundles leave such literals.

        Raises:
            SettingsError: a value does not fit, or a variable with our prefix is unknown.
        """
        variables = {variable_of(name): name for name in cls.model_fields}
        if unknown := sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name not in variables):
            ours = ", ".join(sorted(name for name in variables if name.startswith(PREFIX)))
            raise SettingsError(f"Unknown variable {', '.join(unknown)}: the known ones are {ours}.")
        found = {name: os.environ.get(variable, "") for variable, name in variables.items()}
        given = {name: value for name, value in found.items() if not _LEFT_OVER.fullmatch(value.strip(_AROUND))}
        try:
            return cls.model_validate({**given, **flags})
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            said = first["msg"].removeprefix("Value error, ")
            if not first["loc"]:
                raise SettingsError(f"The options do not fit together: {said}.") from None
            name = _field_of(str(first["loc"][0]))
            where = variable_of(name) + (f" (--{name.replace('_', '-')})" if name in flag_names() else "")
            raise SettingsError(f"{where} cannot be used: {said[0].lower()}{said[1:]}.") from None

    @property
    def key_source(self) -> str | None:
        """The variable that the credentials come from, or None where there are none."""
        if self.sandbox:
            return "the sandbox, which needs none"
        return "ANTHROPIC_API_KEY" if self.api_key else "ANTHROPIC_AUTH_TOKEN" if self.auth_token else None

    @cached_property
    def credential_scope(self) -> str:
        """A digest of the key and of the address that it is for. Each sandbox process is an API of its own."""
        parts = urlsplit(self.base_url)
        port = "" if parts.port in {None, {"https": 443, "http": 80}.get(parts.scheme.lower())} else f":{parts.port}"
        address = f"{parts.scheme.lower()}://{(parts.hostname or '').lower()}{port}{parts.path}"
        secret = self.api_key or self.auth_token
        key = _THIS_SANDBOX if self.sandbox else secret.get_secret_value() if secret else ""
        return hashlib.sha256(f"mcp-batch-tools:{address}:{key}".encode()).hexdigest()[:16]

    @cached_property
    def ledger_folder(self) -> Path:
        """Where this installation keeps what it did. A sandbox has a folder of its own."""
        folder = self.state_dir
        if folder is None:
            from platformdirs import user_state_path  # only an act and `receipts` need it

            folder = user_state_path("mcp-batch-tools", appauthor=False)
        return folder / "sandbox" if self.sandbox else folder

    def redact(self, text: str) -> str:
        """Replace every secret of these settings in `text`."""
        for secret in (self.api_key, self.auth_token):
            if secret and len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret.get_secret_value(), "[redacted]")
        return text


def variable_of(name: str) -> str:
    """The environment variable of a field of `Settings`."""
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else PREFIX + name.upper()


def flag_names() -> list[str]:
    """The fields that are flags too. Credentials are not: a command line can be read by every user of a machine."""
    return [name for name in Settings.model_fields if variable_of(name).startswith(PREFIX)]


def _field_of(location: str) -> str:
    return next((name for name in Settings.model_fields if location in {name, variable_of(name)}), location)
