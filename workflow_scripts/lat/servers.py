"""Ask a language model on a server with OpenAI's chat-completions interface.

Every response is written to a journal as soon as it arrives and before it is interpreted, together with a hash of the
whole request, so that the same request is never paid for twice.
"""

import asyncio
import fcntl
import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from threading import Event
from typing import Any, NamedTuple

import httpx2
import openai
from openai.types.chat import ChatCompletionUserMessageParam

from .credentials import Mask, check_base_url
from .data.locking import UNSUPPORTED
from .files import FORBIDDEN, InputError, Journal, TextError, fold, parse_json
from .runtime import Progress, log

# The messages of a request; there is no system message, since the chat templates of some models do not support one.
Messages = list[ChatCompletionUserMessageParam]

# The HTTP client logs one line per request, which would hide the progress messages. The debug messages of the libraries
# have headers of the server, which may repeat the key.
logging.getLogger("httpx2").setLevel(logging.WARNING)
logging.getLogger("httpcore2").setLevel(logging.WARNING)
logging.getLogger("openai").setLevel(logging.INFO)

# Maximum size of a response, in bytes. A completion has some hundred bytes, and some hundred thousand if a judge gives
# reasons and the server adds the probabilities of all their tokens.
MAX_RESPONSE = 500_000
# Replaces the rest of a longer response, and its last characters, which may be a part of the key, in any spelling.
CUT = " [the rest of the response was not read]"
CUT_CHARACTERS = 5_000
RERUN = "replies so far are kept, rerun to go on"
# A larger number of tokens in one request is an error of the server.
MAX_TOKENS = 10**9


class Reply(NamedTuple):
    """A reply of a model.

    Attributes:
        text: the text.
        prompt_tokens: tokens that the server counted for the prompt; 0 if it did not count them.
        completion_tokens: the same for the reply.
        truncated: whether the reply ends at the maximum number of tokens.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    truncated: bool = False


@dataclass(frozen=True)
class Prices:
    """Prices of one million prompt tokens and of one million reply tokens, in any currency."""

    prompt: float
    completion: float

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return the cost of these numbers of tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class NoCompletion(Exception):
    """A response of the server without a completion; the message says what it is, and the remedy.

    Attributes:
        paid: whether it is a damaged completion, which may have been paid for, rather than a response of another kind,
            such as an error message.
    """

    def __init__(self, message: str, paid: bool) -> None:
        super().__init__(message)
        self.paid = paid


def in_prices(prices: Prices | None, tokens: tuple[float, float]) -> str:
    """Return the cost of prompt and reply tokens as the end of a message; empty without prices."""
    return f", {prices.cost(*tokens):.2f} at the config's prices" if prices else ""


def read_reply(response: str, place: str) -> Reply:
    """Return the reply in the text of a response; characters that no text file can have are replaced.

    Args:
        response: the text.
        place: key of the server's settings in the config, for messages.

    Raises:
        NoCompletion: the response is not a chat completion with a text.
    """
    if response.endswith(CUT):
        message = f"sends more than {MAX_RESPONSE} bytes; ask for shorter replies in {place}.request"
        raise NoCompletion(message, paid='"choices"' in response)
    try:
        content = parse_json(response)
    except TextError:
        content = None
    text = _completion_text(content)
    if text is not None:
        usage = content.get("usage")
        return Reply(
            FORBIDDEN.sub("\ufffd", text),
            _tokens(usage, "prompt_tokens"),
            _tokens(usage, "completion_tokens"),
            truncated=content["choices"][0].get("finish_reason") == "length",
        )
    if isinstance(content, dict) and (error := content.get("error")):
        message = _shorten(str(error.get("message") or error if isinstance(error, dict) else error))
        raise NoCompletion(f"answers with an error ({message}); {RERUN}", paid=False)
    raise NoCompletion(
        f"sends no chat completion; check {place}.base_url, which usually ends in /v1", paid='"choices"' in response
    )


def _shorten(message: str) -> str:
    """Shorten what a server says, so that the remedy after it is not cut off."""
    return fold(message)[:200]


def _completion_text(response: Any) -> str | None:
    """Return the text of a chat completion, empty if it has none, or None if the response is of another kind."""
    match response:
        case {"choices": [{"message": {**message}}, *_]}:
            content = message.get("content") or ""
        case _:
            return None
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        # Some servers divide the text of reasoning models into parts, and their thoughts are parts without a text.
        content = "".join(part["text"] for part in content if isinstance(part.get("text"), str))
    return content if isinstance(content, str) else None


def _tokens(usage: Any, name: str) -> int:
    number = usage.get(name) if isinstance(usage, dict) else None
    return number if type(number) is int and 0 <= number <= MAX_TOKENS else 0


class HttpClient(httpx2.AsyncClient):
    """An HTTP client that limits the time and the size of every response, and does not follow redirects.

    The client of the library limits only the time of each read, so that a server could send one byte at a time for
    hours. A redirect could lead to another server, which should receive neither the messages nor the headers.

    Args:
        timeout: time from the start of a request to the end of its response, in seconds.
        connections: maximum number of connections.
    """

    def __init__(self, timeout: float, connections: int) -> None:
        super().__init__(timeout=timeout, limits=httpx2.Limits(max_connections=connections), follow_redirects=False)
        self._seconds = timeout

    async def send(self, request: httpx2.Request, **settings: Any) -> httpx2.Response:
        """Send a request and read its response, of which only the first `MAX_RESPONSE` bytes are returned."""
        try:
            async with asyncio.timeout(self._seconds):
                response = await super().send(request, **settings | {"stream": True})
                content = await self._read(response)
        except TimeoutError:
            timeout = httpx2.ReadTimeout(f"no complete response after {self._seconds:g} s", request=request)
            if request.headers.get("x-stainless-retry-count", "0") == "0":
                raise timeout from None
            # The server may have counted the request, so that it is repeated once, not as often as after other
            # failures. The library does not repeat a request after errors of its own type.
            raise openai.APITimeoutError(request) from timeout
        headers = response.headers.copy()
        headers.pop("Content-Encoding", None)  # the content is decoded
        return httpx2.Response(response.status_code, headers=headers, content=content, request=request)

    @staticmethod
    async def _read(response: httpx2.Response) -> bytes:
        content = bytearray()
        async with aclosing(response), aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) >= MAX_RESPONSE:
                    break
        return bytes(content[:MAX_RESPONSE])


class ChatServer:
    """A language model on a server with a chat-completions interface.

    Attributes:
        place: key of the server's settings in the config, such as `judge`, for messages.
        model: name of the model on the server.

    Args:
        place: see the attribute.
        base_url: URL of the interface, such as `https://api.openai.com/v1`, without credentials.
        key: API key, or None for a server that needs none. It is never shown, even if the server repeats it.
        model: name of the model on the server.
        request: additional fields of every request, such as `temperature`.
        journal: journal that keeps the responses.
        timeout: timeout of one request, from its start to the end of the response, in seconds.
        retries: how often a request is repeated after a temporary failure, with increasing waits. After a timeout, it
            is repeated at most once.

    Raises:
        InputError: `base_url` is not the URL of a server, or it has credentials.
    """

    def __init__(
        self,
        place: str,
        base_url: str,
        key: str | None,
        model: str,
        request: dict[str, Any],
        journal: Journal,
        timeout: float = 120.0,
        retries: int = 6,
    ) -> None:
        check_base_url(base_url, place)
        self.place, self.model = place, model
        self._base_url, self._request, self._journal = base_url, request, journal
        self._key, self._timeout, self._retries = key, timeout, retries
        self._mask, self._failed = Mask(key), Event()
        self._replies: dict[str, Reply] = {}
        self._damaged: dict[str, NoCompletion] = {}
        for row in journal.read():
            self._read_row(row)

    def has_reply(self, messages: Messages) -> bool:
        """Return whether the journal has a reply to these messages."""
        return self._request_hash(messages) in self._replies

    def check_cost(
        self, what: str, count: int, tokens: tuple[float, float], prices: Prices | None, max_cost: float | None
    ) -> None:
        """Check the estimated cost of what is still to ask.

        Args:
            what: what is asked, such as `questions`.
            count: number of requests.
            tokens: estimate of their prompt tokens, and of the tokens of the replies.
            prices: prices of the model.
            max_cost: the maximum of the estimated cost; used only with `prices`.

        Raises:
            InputError: the estimate is above `max_cost`.
        """
        if prices and max_cost is not None and prices.cost(*tokens) > max_cost:
            raise InputError(
                f"{self.place}: {count} {what} would cost about {prices.cost(*tokens):.2f}, {self.place}.max_cost is"
                f" {max_cost:g}; raise it, or use a cheaper model"
            )

    def ask(self, questions: Sequence[Messages], parallel: int) -> list[Reply]:
        """Return one reply per question, in the order of the questions; only questions without a reply are asked.

        Args:
            questions: the messages of every question.
            parallel: number of parallel requests.

        Raises:
            InputError: the server refuses a request or does not answer, or it sent a damaged reply to one of the
                questions. The replies received so far are kept.
        """
        by_hash = {self._request_hash(messages): messages for messages in questions}
        for key in by_hash:
            if key in self._damaged:
                raise self._no_completion(key, self._damaged[key])
        pending = {key: messages for key, messages in by_hash.items() if key not in self._replies}
        if pending:
            self._ask_pending(pending, parallel)
        return [self._replies[key] for key in map(self._request_hash, questions)]

    @staticmethod
    def log_usage(replies: Sequence[Reply], prices: Prices | None) -> None:
        """Log the tokens that the server counted for replies, and their cost if there are prices."""
        used = sum(reply.prompt_tokens for reply in replies), sum(reply.completion_tokens for reply in replies)
        uncounted = sum(not reply.prompt_tokens for reply in replies)
        log.info(
            "%d prompt tokens and %d reply tokens, earlier runs included%s%s",
            *used,
            in_prices(prices, used),
            f"; {uncounted} of {len(replies)} replies without numbers of tokens" if uncounted else "",
        )

    def _ask_pending(self, pending: Mapping[str, Messages], parallel: int) -> None:
        self._failed.clear()
        # The event loop runs in another thread, so that Ctrl-C does not cancel the requests that are under way: the
        # end of the block waits for their replies, which are paid for.
        with ThreadPoolExecutor(1) as pool:
            try:
                pool.submit(asyncio.run, self._ask_all(pending, parallel)).result()
            except BaseException:
                self._failed.set()
                raise

    async def _ask_all(self, pending: Mapping[str, Messages], parallel: int) -> None:
        progress, limit = Progress(len(pending), "replies"), asyncio.Semaphore(parallel)

        async def answer(key: str, messages: Messages) -> None:
            async with limit:
                if self._failed.is_set():
                    return
                try:
                    await self._answer(client, key, messages)
                except BaseException:
                    self._failed.set()
                    raise
                progress.update()

        async with self._client(parallel) as client:
            # Requests under way are not cancelled when one fails, since their replies are paid for.
            results = await asyncio.gather(*(answer(*item) for item in pending.items()), return_exceptions=True)
        for error in results:
            if error is not None:
                raise error

    def _client(self, parallel: int) -> openai.AsyncOpenAI:
        try:
            client = openai.AsyncOpenAI(
                base_url=self._base_url,
                api_key=self._key or "none",
                timeout=self._timeout,
                max_retries=self._retries,
                http_client=HttpClient(self._timeout, parallel),
            )
        except (httpx2.InvalidURL, ImportError, OSError, ValueError) as error:
            # The message may contain the password of a proxy.
            raise self._failure(
                f"cannot be asked ({type(error).__name__}); check {self.place}.base_url, and the environment variables"
                " for proxies and certificates, such as HTTPS_PROXY and SSL_CERT_FILE"
            ) from None
        if (client.base_url.scheme, client.base_url.host) != ("https", "api.openai.com"):
            # The library reads OPENAI_ORG_ID and OPENAI_PROJECT_ID, which are not for other servers.
            client.organization = client.project = None
        return client

    def _request_hash(self, messages: Messages) -> str:
        request = [self._base_url, self.model, self._request, messages]
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()

    async def _answer(self, client: openai.AsyncOpenAI, key: str, messages: Messages) -> None:
        response = await self._complete(client, messages)
        # Written immediately, so that a reply is not lost when another request fails, or if it cannot be interpreted.
        self._journal.add({"request": key, "response": response})
        try:
            self._keep(key, response)
        except NoCompletion as error:
            raise self._no_completion(key, error) from None

    def _read_row(self, row: Mapping[str, Any]) -> None:
        match row:
            case {"request": str(key), "response": str(response)}:
                with suppress(NoCompletion):
                    self._keep(key, response)
            case {"request": str(), "reply": _}:
                pass  # written by version 0.1.0, whose judge asked other questions
            case _:
                log.warning("%s: a line that is not a reply of the server is left out", self._journal.path)

    def _keep(self, key: str, response: str) -> None:
        """Keep the reply in a response, unless it is neither a reply nor a damaged one: it is then asked again.

        Raises:
            NoCompletion: the response is not a chat completion with a text.
        """
        try:
            self._replies[key] = read_reply(response, self.place)
        except NoCompletion as error:
            if error.paid:
                self._damaged[key] = error
            raise

    async def _complete(self, client: openai.AsyncOpenAI, messages: Messages) -> str:
        """Return the text of the response to a request, with the key masked."""
        try:
            response = await client.chat.completions.with_raw_response.create(
                model=self.model,
                messages=messages,
                extra_body=self._request,
            )
        except openai.APIStatusError as error:
            place = self.place
            remedy = {
                401: f"check the key in the variable that `{place}.key` names",
                403: f"check the key in the variable that `{place}.key` names",
                404: f"check {place}.base_url and {place}.model",
                429: f"wait, or lower {place}.parallel; {RERUN}",
            }.get(error.status_code, f"check the config's `{place}`" if error.status_code < 500 else RERUN)
            if error.status_code < 400:
                remedy = f"set {place}.base_url to the address to which the server redirects"
            body = error.body
            message = body.get("message") or body if isinstance(body, dict) else error.message
            raise self._failure(f"answers {error.status_code} ({self._quote(message)}); {remedy}") from None
        except openai.APIConnectionError as error:
            message = self._quote(error.__cause__ or error)
            raise self._failure(f"does not answer ({message}); check {self.place}.base_url; {RERUN}") from None
        except (openai.OpenAIError, httpx2.InvalidURL, ValueError) as error:
            message = self._quote(error)
            raise self._failure(
                f"cannot be asked ({message}); check {self.place}.base_url and {self.place}.request"
            ) from None
        content = response.content
        text = self._mask(content.decode(json.detect_encoding(content), errors="replace"))
        return text[:-CUT_CHARACTERS] + CUT if len(content) == MAX_RESPONSE else text

    def _quote(self, message: object) -> str:
        return _shorten(self._mask(str(message)))  # in this order, since a part of a key would not be masked

    def _no_completion(self, key: str, error: NoCompletion) -> InputError:
        remedy = ""
        if error.paid:
            remedy = (
                f". The response may have been paid for, so it is not asked for again; to do so, remove the line with"
                f" {key[:12]} from {self._journal.path}"
            )
        return self._failure(f"{error}{remedy}")

    def _failure(self, what: str) -> InputError:
        text = fold(self._mask(f"{self.place}: {self._base_url} {what}"))[:600]
        return InputError("".join(character if character.isprintable() else "\ufffd" for character in text))


@contextmanager
def held(journal: Journal) -> Iterator[None]:
    """Let no other process ask with a journal until the `with` block ends, so that no two pay for the same request."""
    journal.path.parent.mkdir(parents=True, exist_ok=True)
    with open(journal.path, "ab") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("%s: another job asks with the same journal; waiting for it", journal.path)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            log.warning("%s: its file system has no locks; let no other job ask with it now", journal.path)
        yield
