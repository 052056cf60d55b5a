"""What an HTTP exchange with the API turns into: whole bodies, polling hints, and errors."""

import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from socket import gaierror
from typing import NoReturn, TypeVar

import httpcore2
import httpx2
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from mcp_batch_tools.api.errors import (
    ApiError,
    InvalidResponse,
    NoResponse,
    Operation,
    Reason,
    ResponseProblem,
    SetupProblem,
    UnusableSetup,
)
from mcp_batch_tools.api.models import FromApi
from mcp_batch_tools.api.untrusted import change_texts

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,20}/(\d{1,18}|\*)", re.ASCII)
_WORKSPACE = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_CREDENTIALS = re.compile(r"//[^/\s]*@")
Model = TypeVar("Model", bound=FromApi)
_LARGEST_BODY = 32 * 1024 * 1024  # a full page of 1,000 batches is below 1 MB


@dataclass(frozen=True)
class ResultStream:
    """Results on their way: from the byte `start` on, of `length` in all where that is known."""

    start: int
    length: int | None
    chunks: AsyncIterator[bytes]


def read_large_pieces() -> None:
    """Take as much at once from a socket as asyncio does, 256 KiB: each piece costs the same whatever its size."""
    httpcore2.AsyncHTTP11Connection.READ_NUM_BYTES = 256 * 1024  # there is no parameter for it


def result_stream(response: httpx2.Response, offset: int) -> ResultStream:
    """The stream that an answer opens. An offset that the other side ignored makes it start at 0.

    Raises:
        InvalidResponse: it starts at another byte than the one asked for.
    """
    start, length = 0, None
    if response.status_code == 206:
        told = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if told is None or int(told[1]) != offset:
            raise invalid_response("results", response, "other_part")
        start, length = offset, int(told[2]) if told[2] != "*" else None
    elif "content-encoding" not in response.headers and response.headers.get("content-length", "").isdecimal():
        length = int(response.headers["content-length"])
    return ResultStream(start, length, _chunks("results", response))


async def _chunks(endpoint: Operation, response: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_bytes():
            yield chunk
    except httpx2.DecodingError:
        raise invalid_response(endpoint, response, "compression") from None
    except httpx2.HTTPError as error:
        if endpoint == "results" and isinstance(error, httpx2.RemoteProtocolError) and "closed" not in str(error):
            # Not a break, but bytes where none can be: what came before may be wrong, too.
            raise invalid_response(endpoint, response, "framing") from error
        raise_no_response(endpoint, error)


async def whole_body(endpoint: Operation, response: httpx2.Response, redact: Callable[[str], str]) -> bytes:
    """The body of an answer, up to a length that none has, without the secrets that `redact` takes out. Closes it.

    Raises:
        NoResponse: it did not arrive whole.
        InvalidResponse: it is too long, or its compression is broken.
    """
    body = bytearray()
    try:
        async for chunk in _chunks(endpoint, response):
            body += chunk
            if len(body) > _LARGEST_BODY:
                raise invalid_response(endpoint, response, "too_long")
    finally:
        await response.aclose()
    return _redacted(bytes(body), redact)


def redact_headers(response: httpx2.Response, redact: Callable[[str], str]) -> None:
    """Take secrets out of every header, before anything reads one."""
    for name, value in response.headers.items():
        if (clean := redact(value)) != value:
            response.headers[name] = clean


def parsed(model: type[Model], endpoint: Operation, response: httpx2.Response, body: bytes, now: datetime) -> Model:
    """The answer that a body holds, with the time, the id and the polling hint that its headers give.

    Raises:
        InvalidResponse: it is not what the API promises.
    """
    try:
        answer = model.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        where = ".".join(str(part) for part in problems[0]["loc"])
        text = f"{where}: {problems[0]['msg']}" if where else problems[0]["msg"]
        raise invalid_response(endpoint, response, "schema", text) from None
    answer._api_time = time_of(response)
    answer._retry_after = retry_after(response.headers, now)
    answer._request_id = (request_id_of(response) or "")[:200] or None
    return answer


def _redacted(body: bytes, redact: Callable[[str], str]) -> bytes:
    """A JSON body without secrets, also where they are escaped."""
    text = body.decode(errors="replace")
    if redact(text) == text and "\\" not in text:
        return body
    try:
        return to_json(change_texts(from_json(body), redact))
    except ValueError:
        return redact(text).encode()


def api_error(
    endpoint: Operation, response: httpx2.Response, body: bytes, now: datetime, message_batch_id: str | None
) -> ApiError:
    """The error that an answer without success stands for, as far as its body explains it."""
    try:
        envelope = _object(from_json(body))
    except ValueError:
        envelope = {}
    error = _object(envelope.get("error"))
    details = _object(error.get("details"))
    should_retry = response.headers.get("x-should-retry")
    message = str(error.get("message") or "")
    return ApiError(
        message,
        endpoint=endpoint,
        status=response.status_code,
        type=str(error.get("type") or ""),
        request_id=request_id_of(response) or _text(envelope.get("request_id")),
        retry_after=retry_after(response.headers, now),
        should_retry={"true": True, "false": False}.get(should_retry or ""),
        error_code=_text(details.get("error_code")),
        names_batch=message_batch_id is not None and _names(message, message_batch_id),
    )


def _names(message: str, message_batch_id: str) -> bool:
    """Whether a text names this id, and not a longer one that holds it."""
    return re.search(rf"(?<![\w-]){re.escape(message_batch_id)}(?![\w-])", message) is not None


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from `retry-after-ms` or `retry-after` (a number, or an HTTP date); None where neither makes sense.

    Nor does 0: obeyed, it would repeat at once what the other side has just refused.
    """
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            try:
                seconds = (parsedate_to_datetime(value) - now).total_seconds()
            except (ValueError, TypeError, OverflowError):  # no date, or one without its zone
                continue
        if isfinite(seconds) and seconds > 0:
            return seconds
    return None


def invalid_response(
    endpoint: Operation, response: httpx2.Response, problem: ResponseProblem, detail: str = ""
) -> InvalidResponse:
    """The error that an unexpected body stands for."""
    request_id = request_id_of(response)
    return InvalidResponse(
        problem, endpoint=endpoint, status=response.status_code, request_id=request_id, detail=detail
    )


def request_id_of(response: httpx2.Response) -> str | None:
    """The id by which Anthropic's support finds a request."""
    return _text(response.headers.get("request-id"))


def workspace_of(response: httpx2.Response) -> str | None:
    """The workspace that answered, as the header `anthropic-workspace-id` names it."""
    named = response.headers.get("anthropic-workspace-id", "")
    return named if _WORKSPACE.fullmatch(named) else None


def time_of(response: httpx2.Response) -> datetime | None:
    """The time of day by the clock of the other side, from the header `date`."""
    try:
        time = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def unusable_setup(endpoint: Operation, error: Exception, problem: SetupProblem) -> UnusableSetup:
    """What a failure before any connection stands for; `problem` is what it is about where the error does not say.

    httpx2 puts the address of a proxy into its texts, password and all.
    """
    detail = _CREDENTIALS.sub("//", str(error))
    match error:
        case ImportError():
            problem, detail = "socks", ""
        case OSError():
            problem = "certificates"
        case ExceptionGroup() | OverflowError():  # the settings have checked the port of the address
            problem, detail = "proxy", "a port must be from 0 to 65535"
    return UnusableSetup(problem, endpoint=endpoint, detail=detail)


def raise_no_response(endpoint: Operation, error: httpx2.HTTPError) -> NoReturn:
    """Raise what a failure below HTTP stands for."""
    sent = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.ProxyError)
    raise NoResponse(_reason(error), endpoint=endpoint, sent=sent) from error


def _reason(error: BaseException) -> Reason:
    """Why no answer arrived, from the chain of causes that httpx2 and the standard library leave."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ssl.SSLError() if isinstance(error, httpx2.ConnectError):
                return "tls"
            case gaierror():
                return "name"
            case httpx2.ProxyError():
                return "proxy"
            case httpx2.TimeoutException():
                return "timeout"
        cause = cause.__cause__ or cause.__context__
    return "connect" if isinstance(error, httpx2.ConnectError) else "cut"


def _object(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
