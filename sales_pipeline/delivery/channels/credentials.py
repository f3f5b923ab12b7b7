"""Where a channel's secret comes from: the environment (read by the settings), or a file that only its owner may read.

Belongs here: finding it and refusing unsafe places. Does not belong here: sending it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from sales_pipeline.errors import ConfigurationError

VARIABLE = "SALES_PIPELINE_DELIVERY__TARGETS__<NAME>__CHANNEL__TOKEN"
_LONGEST = 65_536


class HasSecret(Protocol):
    """Parameters of a channel that needs a secret."""

    @property
    def token(self) -> SecretStr | None:
        """From the environment."""
        ...

    @property
    def token_file(self) -> Path | None:
        """Where else it stands."""
        ...


def secret_of(params: HasSecret) -> str:
    """The secret: the token of the environment, else the only line of `token_file`.

    Raises ConfigurationError when there is neither, when the file is no regular file of this user, or others may read it, or when the
    secret is empty or holds control characters. No message repeats any of it.
    """
    if params.token is not None:
        return _usable(params.token.get_secret_value(), VARIABLE)
    if params.token_file is not None:
        return _usable(_read(params.token_file), str(params.token_file))
    raise ConfigurationError(
        "the channel has no secret",
        expected=f"{VARIABLE} in the environment, or token_file in the configuration",
        found="neither",
        fix="set the variable with the target's name in capitals, or name a file that only its owner may read",
    )


def _read(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigurationError(
            "the token_file cannot be opened",
            expected="a regular file of the user who runs this, not a link to one",
            found=os.strerror(error.errno or 0),
            where=str(path),
        ) from error
    try:
        seen = os.fstat(descriptor)  # of what was opened, not of what stands at the path by now
        if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.getuid():
            raise ConfigurationError(
                "the token_file is not a regular file of the user who runs this",
                expected=f"a regular file of user {os.getuid()}",
                found=f"{stat.filemode(seen.st_mode)} of user {seen.st_uid}",
                where=str(path),
            )
        if seen.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigurationError(
                "others may read the token_file",
                expected="mode 0600",
                found=f"mode {stat.S_IMODE(seen.st_mode):04o}",
                where=str(path),
                fix=f"chmod 600 {path}; and take a new token, if others have been on this machine",
            )
        try:
            return os.read(descriptor, _LONGEST).decode("utf-8")
        except UnicodeDecodeError:
            raise ConfigurationError("the token_file is not text", expected="UTF-8", where=str(path)) from None
    finally:
        os.close(descriptor)


def _usable(secret: str, where: str) -> str:
    secret = secret.strip()
    if not secret or not secret.isprintable():
        raise ConfigurationError(
            "the secret cannot be one",
            expected="one line of text",
            found="control characters" if secret else "nothing",
            where=where,
        )
    return secret
