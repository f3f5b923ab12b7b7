import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.delivery.channels.remote import NoAnswer, Remote, json_of
from sales_pipeline.errors import ConfigurationError, DeliveryFailed

Answer = tuple[int, dict[str, str], bytes] | None  # None: close the connection without a word
OK: Answer = (200, {}, b"{}")


class Peer:
    """A server that gives prepared answers in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self, answers: list[Answer]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str, bytes]] = []
        self.url = ""


@contextmanager
def peer(*answers: Answer) -> Iterator[Peer]:
    state = Peer(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            state.asked.append((self.command, self.path, body))
            given = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            if given is None:
                self.close_connection = True
                return
            status, headers, content = given
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None: ...

    for method in ("GET", "POST", "PUT"):
        setattr(Handler, f"do_{method}", Handler.answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def remote(url: str, slept: Callable[[float], None] = lambda _: None, **changes: Any) -> Remote:
    options: dict[str, Any] = {"timeout_seconds": 5.0, "attempts": 3, "requests_per_second": 1e9, "sleep": slept}
    return Remote(url, **{**options, **changes})


@pytest.mark.parametrize("bad", [None, (429, {}, b""), (500, {}, b""), (503, {}, b"")])
def test_a_repeatable_request_is_repeated_until_it_is_answered(bad: Answer) -> None:
    slept: list[float] = []
    with peer(bad, bad, OK) as there, remote(there.url, slept.append) as client:
        assert client.request("GET", "x", is_repeatable=True).json() == {}
    assert len(there.asked) == 3
    assert 0.5 <= slept[0] <= 1.0 <= slept[1] <= 1.5  # doubled, with up to half a second of jitter


def test_attempts_run_out_with_what_was_expected_and_found() -> None:
    with peer((502, {}, b"")) as there, remote(there.url) as client:
        with pytest.raises(DeliveryFailed, match=r"(?s)an answer to GET x.*status 502 after 3 attempts.*deliver again"):
            client.request("GET", "x", is_repeatable=True)
        assert len(there.asked) == 3


def test_a_request_that_may_not_be_repeated_is_sent_once_when_it_may_have_been_done() -> None:
    for bad in (None, (500, {}, b"")):
        with peer(bad, OK) as there, remote(there.url) as client:
            with pytest.raises(NoAnswer, match="did not say whether"):
                client.request("POST", "x", json={}, is_repeatable=False)
            assert len(there.asked) == 1


def test_a_request_that_may_not_be_repeated_is_repeated_when_the_target_turned_it_away() -> None:
    with peer((429, {"Retry-After": "7"}, b""), OK) as there, remote(there.url) as client:
        assert client.request("POST", "x", json={}, is_repeatable=False).status_code == 200
        assert len(there.asked) == 2


def test_where_nobody_listens_even_such_a_request_is_tried_again_and_nothing_is_doubtful() -> None:
    slept: list[float] = []
    with peer(OK) as there:
        url = there.url
    with (
        remote(url, slept.append) as client,
        pytest.raises(DeliveryFailed, match=r"(?s)ConnectError .*refused.* after 3") as caught,
    ):
        client.request("POST", "x", is_repeatable=False)
    assert not isinstance(caught.value, NoAnswer)
    assert len(slept) == 2


def test_retry_after_is_waited_for_in_seconds_or_up_to_a_date() -> None:
    slept: list[float] = []
    dates = {"Retry-After": "Fri, 27 Nov 2026 10:00:30 GMT", "Date": "Fri, 27 Nov 2026 10:00:00 GMT"}
    with peer((429, {"Retry-After": "7"}, b""), (503, dates, b""), OK) as there, remote(there.url, slept.append) as it:
        it.request("GET", "x", is_repeatable=True)
    assert slept == [7.0, 30.0]


def test_a_wait_beyond_reason_is_not_made() -> None:
    slept: list[float] = []
    with (
        peer((429, {"Retry-After": "86400"}, b"")) as there,
        remote(there.url, slept.append) as client,
        pytest.raises(DeliveryFailed, match=r"(?s)longer wait.*at most 300 s.*Retry-After 86400"),
    ):
        client.request("GET", "x", is_repeatable=True)
    assert slept == []


def test_the_rate_is_kept() -> None:
    now = [100.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    with peer(OK) as there, remote(there.url, sleep, requests_per_second=4.0, clock=lambda: now[0]) as client:
        for _ in range(3):
            client.request("GET", "x", is_repeatable=True)
    assert slept == pytest.approx([0.25, 0.25])


def test_an_answer_that_does_not_come_in_time_is_no_answer() -> None:
    with (
        peer((200, {"Content-Length": "10"}, b"half")) as there,  # and then nothing
        remote(there.url, attempts=1, timeout_seconds=0.05) as client,
        pytest.raises(DeliveryFailed, match=r"ReadTimeout \(timed out\) after 1 attempt"),
    ):
        client.request("GET", "x", is_repeatable=True)


@pytest.mark.parametrize(
    ("status", "fix"), [(400, "mend what"), (401, "token"), (403, "user may do"), (404, "url"), (302, "redirect")]
)
def test_a_refusal_says_what_the_target_said_and_what_to_do(status: int, fix: str) -> None:
    body = b'[{"errorCode":"X","message":"no\x1b[31m canary way"}]'
    with (
        peer((status, {"Location": "http://127.0.0.1:9/"}, body)) as there,
        remote(there.url, secrets=("canary",)) as client,
        pytest.raises(DeliveryFailed, match=f"(?s)status {status}.*{fix}") as caught,
    ):
        client.request("GET", "x", is_repeatable=True)
    assert len(there.asked) == 1
    assert "canary" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_status_the_caller_knows_about_comes_back() -> None:
    with peer((404, {}, b"gone")) as there, remote(there.url) as client:
        assert client.request("GET", "x", is_repeatable=True, accept=(200, 404)).text == "gone"


def test_a_file_is_sent_whole_with_every_attempt_and_an_answer_is_written_to_one(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(bytes(range(256)) * 1000)
    with peer((500, {}, b"bad"), OK) as there, remote(there.url) as client:
        client.request("PUT", "x", content=source, is_repeatable=True)
        assert [body for _, _, body in there.asked] == [source.read_bytes()] * 2
        there.answers = [None, (200, {}, source.read_bytes())]
        client.download("y", target)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example",
        "ftp://127.0.0.1",
        "crm.example",
        "",
        "https://",
        "https://user:hush@crm.example",
        "https://crm.example?token=hush",
        "https://crm.example#hush",
        "http://127.0.0.1.crm.example",
        "http://[",
    ],
)
def test_an_address_that_is_not_safe_is_refused_without_repeating_a_secret(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not safe to send to") as caught:
        remote(url)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://crm.example/db/", "http://localhost:1", "http://[::1]:1", "http://127.9.9.9"])
def test_https_and_this_machine_are_accepted(url: str) -> None:
    remote(url).close()


def test_an_answer_that_is_no_json_says_so() -> None:
    with peer((200, {"Content-Type": "text/html"}, b"<h1>Log in</h1>")) as there, remote(there.url) as client:
        with pytest.raises(DeliveryFailed, match=r"(?s)cannot be read.*found: text/html"):
            json_of(client.request("GET", "x", is_repeatable=True))
        there.answers = [(200, {}, b'{"a": 1}')]
        assert json_of(client.request("GET", "x", is_repeatable=True)) == {"a": 1}
