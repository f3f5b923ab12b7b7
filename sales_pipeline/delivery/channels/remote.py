"""One HTTP client for every target that is spoken to over the network: time limits, retries, a rate limit, and errors that say what to do.

What may be sent again is decided by the caller, request by request. A request that may not (`is_repeatable=False`) is repeated only where it is
certain that the target did nothing: no connection came about, or the target answered 429. Else it ends in `NoAnswer`, and the caller looks
at the target before it goes on.

Retried: no connection, no answer in time, a connection that broke, 429 (its Retry-After is waited for) and 5xx; the waits double and carry
jitter. Redirects are not followed, so a token goes to no other host than the configured one.

Belongs here: HTTP. Does not belong here: what any target means by it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx
import tenacity

from sales_pipeline.delivery.channels.address import is_loopback, safe_address
from sales_pipeline.errors import DeliveryFailed

LONGEST_WAIT_SECONDS = 300.0
_FIRST_WAIT_SECONDS = 0.5
_MESSAGE_LENGTH = 1000

_GO_ON = "deliver again: it goes on where it stopped; the published tables still stand"


class NoAnswer(DeliveryFailed):
    """A request that may not be repeated got no answer: whether the target carried it out is not known."""


class _Again(Exception):
    """An attempt that failed and may be repeated, after `wait_seconds` where the target says so."""

    def __init__(self, found: str, *, may_be_done: bool, wait_seconds: float | None = None) -> None:
        super().__init__(found)
        self.found = found
        self.may_be_done = may_be_done
        self.wait_seconds = wait_seconds


class Remote:
    """A client of one target. Use it as a context manager.

    Parameters
    ----------
    url
        Where paths begin: https, or http to this machine itself; without user, password, query or fragment.
    timeout_seconds
        Longest wait for a connection, and for the next bytes of an answer.
    attempts
        How often a request is tried in all.
    requests_per_second
        Upper limit, retries included.
    headers
        Sent with every request.
    secrets
        Texts that no error message may repeat.
    sleep, clock
        For tests: `clock` gives seconds that only grow.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float,
        attempts: int,
        requests_per_second: float,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = safe_address(url)
        address = httpx.URL(self._url)
        self._attempts = attempts
        self._gap = 1.0 / requests_per_second
        self._secrets = tuple(secret for secret in secrets if secret)
        self._sleep = sleep
        self._clock = clock
        self._next_at = 0.0
        self._client = httpx.Client(
            headers=dict(headers or {}),
            timeout=timeout_seconds,
            follow_redirects=False,
            verify=address.scheme == "https",  # without TLS there is no certificate to look at, and none is loaded
            trust_env=not is_loopback(
                address.host
            ),  # a proxy is the machine's business, but never on the way to itself
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        is_repeatable: bool,
        json: Any = None,
        content: bytes | Path | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (200,),
    ) -> httpx.Response:
        """One request, and its answer when its status is in `accept`, which also holds for statuses that would be retried.

        `content` may be a file, which is streamed. Raises NoAnswer (see above), and DeliveryFailed when attempts are used up or the
        target answers with another status.
        """

        def attempt() -> httpx.Response:
            with _opened(content) as body:
                answer = self._client.request(
                    method, self._at(path), json=json, content=body, params=params, headers=headers
                )
            self._judge(answer, accept)
            return answer

        return self._retried(attempt, f"{method} {path}", is_repeatable)

    def download(
        self,
        path: str,
        to: Path,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (200,),
    ) -> httpx.Response:
        """GET an answer of any size into a file, which is begun anew with every attempt; errors as in `request`."""

        def attempt() -> httpx.Response:
            with self._client.stream("GET", self._at(path), params=params, headers=headers) as answer:
                if answer.status_code not in accept:
                    answer.read()
                self._judge(answer, accept)
                with to.open("wb") as handle:
                    for chunk in answer.iter_bytes():
                        handle.write(chunk)
            return answer

        return self._retried(attempt, f"GET {path}", is_repeatable=True)

    def readable(self, answer: httpx.Response) -> str:
        """What the target said, on one line, without control characters and secrets, cut where it grows long."""
        return self._clean(answer.text)

    def _named(self, error: Exception) -> str:
        text = self._clean(str(error))
        return type(error).__name__ + (f" ({text})" if text else "")

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join("".join(c if c.isprintable() else " " for c in text[:_MESSAGE_LENGTH]).split())

    def _at(self, path: str) -> str:
        return f"{self._url}/{path.lstrip('/')}"

    def _retried(self, attempt: Callable[[], httpx.Response], what: str, is_repeatable: bool) -> httpx.Response:
        def once() -> httpx.Response:
            self._keep_to_the_rate()
            try:
                return attempt()
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
                raise _Again(self._named(error), may_be_done=False) from error
            except (httpx.TransportError, httpx.DecodingError) as error:
                raise _Again(self._named(error), may_be_done=True) from error

        retrying = tenacity.Retrying(
            sleep=self._sleep,
            stop=tenacity.stop_after_attempt(self._attempts),
            wait=_wait,
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, _Again) and (is_repeatable or not error.may_be_done)
            ),
            reraise=True,
        )
        try:
            return retrying(once)
        except _Again as error:
            tries = retrying.statistics.get("attempt_number", 1)
            found = f"{error.found} after {tries} attempt{'' if tries == 1 else 's'}"
            if error.may_be_done and not is_repeatable:
                raise NoAnswer(
                    "the target did not say whether it carried out a request",
                    expected=f"an answer to {what}",
                    found=found,
                    where=self._url,
                    fix=_GO_ON,
                ) from error
            raise DeliveryFailed(
                "the target could not be reached, or could not answer",
                expected=f"an answer to {what}",
                found=found,
                where=self._url,
                fix=f"see whether the target is up and its address right, then {_GO_ON}",
            ) from error

    def _keep_to_the_rate(self) -> None:
        wait = self._next_at - self._clock()
        if wait > 0:
            self._sleep(wait)
        self._next_at = self._clock() + self._gap

    def _judge(self, answer: httpx.Response, accept: Collection[int]) -> None:
        status = answer.status_code
        if status in accept:
            return
        if status == 429 or status >= 500:
            wait = _retry_after(answer)
            if wait is None or wait <= LONGEST_WAIT_SECONDS:
                raise _Again(f"status {status}", may_be_done=status != 429, wait_seconds=wait)
            raise DeliveryFailed(
                "the target asks for a longer wait than a delivery makes",
                expected=f"at most {LONGEST_WAIT_SECONDS:.0f} s",
                found=f"status {status}, Retry-After {wait:.0f} s",
                where=self._url,
                fix=f"later {_GO_ON}",
            )
        raise DeliveryFailed(
            "the target refused a request",
            expected=f"status {', '.join(str(code) for code in accept)}",
            found=f"status {status}: {self.readable(answer)}",
            where=f"{answer.request.method} {answer.request.url.copy_with(query=None)}",
            fix=_fix(status),
        )


def json_of(answer: httpx.Response) -> Any:
    """The JSON of an answer; DeliveryFailed when it is none, as behind a proxy's login page."""
    try:
        return answer.json()
    except ValueError:
        raise DeliveryFailed(
            "the target's answer cannot be read",
            expected="JSON",
            found=answer.headers.get("Content-Type", "no content type"),
            where=str(answer.request.url.copy_with(query=None)),
            fix="see whether the url is the target's own, and not that of a page to log in",
        ) from None


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    if isinstance(error, _Again) and error.wait_seconds is not None:
        return error.wait_seconds
    return tenacity.wait_exponential_jitter(multiplier=_FIRST_WAIT_SECONDS, max=60.0, jitter=_FIRST_WAIT_SECONDS)(state)


def _retry_after(answer: httpx.Response) -> float | None:
    """Seconds of a Retry-After header; a date in it is held against the answer's own Date, so that no clock here matters."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(answer.headers.get("Date", ""))
        return max((until - now).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _fix(status: int) -> str:
    if status in (401, 403):
        return f"see whether the token is right and not expired, and what its user may do, then {_GO_ON}"
    if status == 404:
        return "see whether the url and the version of the interface are right"
    if 300 <= status < 400:
        return "give the address the target redirects to; redirects are not followed, so that no token goes elsewhere"
    return f"mend what the target names, then {_GO_ON}"


@contextmanager
def _opened(content: bytes | Path | None) -> Iterator[bytes | IO[bytes] | None]:
    if isinstance(content, Path):
        with content.open("rb") as handle:
            yield handle
    else:
        yield content
