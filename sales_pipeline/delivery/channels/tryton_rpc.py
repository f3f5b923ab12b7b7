"""A session with a Tryton server: JSON-RPC after `trytond/protocols/{jsonrpc,dispatcher}.py` of 8.2.

`POST <url>/rpc/` with `{"id", "method", "params"}`; the last parameter is the user's context. A session is opened with the user's password and
goes with every request; when it has expired (401) it is opened again, once for each request.

Belongs here: login, calls, their errors. Does not belong here: what is imported (`tryton`), and HTTP itself (`remote`).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from sales_pipeline.delivery.channels.remote import Remote
from sales_pipeline.errors import DeliveryFailed

_LONGEST_MESSAGE = 2_000


class Refusal(Exception):
    """The server carried a call out and said no: nothing of it is kept. `code` is the class of its error, `message` its own words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class TrytonSession:
    """Calls in the name of one user."""

    def __init__(self, remote: Remote, user: str, password: str) -> None:
        self._remote = remote
        self._user = user
        self._password = password
        self._authorization: str | None = None
        self._context: dict[str, Any] = {}

    def read(self, method: str, *params: Any) -> Any:
        """The result of a call that changes nothing. Raises DeliveryFailed where the server refuses it, too."""
        try:
            return self._call(method, params, is_repeatable=True)
        except Refusal as refusal:
            raise DeliveryFailed(
                "Tryton refuses a question",
                expected=f"an answer to {method}",
                found=str(refusal),
                fix="see whether the target's mapping names models and fields that are there, and what the user may see",
            ) from refusal

    def write(self, method: str, *params: Any) -> Any:
        """The result of a call that may not be made twice. Raises Refusal; NoAnswer where nobody knows what came of it."""
        return self._call(method, params, is_repeatable=False)

    def _call(self, method: str, params: Sequence[Any], is_repeatable: bool) -> Any:
        if self._authorization is None:
            self._log_in()
        status, body = self._post(method, [*params, self._context], is_repeatable)
        if status == 401:
            self._log_in()
            status, body = self._post(method, [*params, self._context], is_repeatable)
        if status == 401:
            raise self._no_login("a session that is refused right after it was opened")
        return _result(body)

    def _log_in(self) -> None:
        self._authorization = None
        status, body = self._post(
            "common.db.login", [self._user, {"password": self._password}, "en"], is_repeatable=True
        )
        if status == 401:
            raise self._no_login("wrong user or password")
        found = _result(body)
        if not isinstance(found, list) or len(found) < 2:
            raise self._no_login("an answer that is no session")
        token = base64.b64encode(f"{self._user}:{found[0]}:{found[1]}".encode()).decode()
        self._authorization = f"Session {token}"
        _, body = self._post("model.res.user.get_preferences", [True, {}], is_repeatable=True)
        self._context = dict(_result(body))

    def _post(self, method: str, params: Sequence[Any], is_repeatable: bool) -> tuple[int, Any]:
        headers = {"Authorization": self._authorization} if self._authorization else {}
        answer = self._remote.request(
            "POST",
            "rpc/",
            is_repeatable=is_repeatable,
            json={"id": 1, "method": method, "params": list(params)},
            headers=headers,
            accept=(200, 401),
        )
        if answer.status_code == 401:
            return 401, None
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or not {"result", "error"} & set(body):
            raise DeliveryFailed(
                "the answer is not one of Tryton's",
                expected="JSON with a result or an error",
                found=" ".join(answer.text.split())[:200],
                where=method,
                fix="see whether the url is https://host/database/ of a Tryton server",
            )
        return 200, body

    def _no_login(self, found: str) -> DeliveryFailed:
        return DeliveryFailed(
            "Tryton does not let this user in",
            expected=f"a session for user {self._user!r}",
            found=found,
            fix="see whether `user` and its password are right, and whether it may log in with a password alone",
        )


def _result(body: dict[str, Any]) -> Any:
    if "error" not in body:
        return body["result"]
    error = body["error"]
    code = str(error[0]) if isinstance(error, list) and error else "error"
    said = error[1] if isinstance(error, list) and len(error) > 1 else error
    if code in ("UserError", "UserWarning"):
        # [message, description, domain] and [name, message, description]: what people would be shown.
        texts = list(said)[1:] if code == "UserWarning" else list(said)[:2]
        said = " - ".join(str(text) for text in texts if text)
    else:
        # A class of Tryton's own with a text, or the text of any exception with its traceback, which is for the server's log.
        said, code = (said, code) if code.endswith("Exception") else (code, "ServerError")
    text = "".join(letter if letter.isprintable() else " " for letter in str(said))
    raise Refusal(code, " ".join(text.split())[:_LONGEST_MESSAGE])
