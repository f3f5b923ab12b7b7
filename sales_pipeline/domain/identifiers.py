"""Identifiers and digests: Salesforce ids, content digests, stable keys.

Belongs here: pure functions from text or bytes to an identifier. Does not belong here: reading files.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

# One encoder for all: json.dumps with options makes a new one at each call.
_TEXT = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
_CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def to_sfid18(value: str) -> str:
    """The 18-character form of a 15-character Salesforce id; an 18-character id is returned with its case repaired.

    Per chunk of five characters, bit k of an index into `A–Z0–5` is set when character k is an upper-case letter
    (Salesforce, "What is the difference between 15-digit and 18-digit record IDs"). Anything that has not 15 or 18
    ASCII letters and digits is returned unchanged: the caller decides whether that is an error.
    """
    if len(value) not in (15, 18) or not value.isascii() or not value.isalnum():
        return value
    if len(value) == 18:
        return _repair_case(value)
    return value + "".join(_chunk_checksum(value[i : i + 5]) for i in (0, 5, 10))


def _chunk_checksum(chunk: str) -> str:
    return _CHECKSUM[sum(1 << k for k, character in enumerate(chunk) if "A" <= character <= "Z")]


def _repair_case(value: str) -> str:
    """An 18-character id carries its own case in its checksum, so a folded one can be mended."""
    body: list[str] = []
    for number in range(3):
        checksum = value[15 + number].upper()
        if checksum not in _CHECKSUM:
            return value
        bits = _CHECKSUM.index(checksum)
        for k, character in enumerate(value[number * 5 : number * 5 + 5]):
            if bits >> k & 1 and not character.isalpha():
                return value
            body.append(character.upper() if bits >> k & 1 else character.lower())
    return "".join(body) + value[15:].upper()


def digest_bytes(data: bytes) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_of(*parts: Any, length: int = 16) -> str:
    """A stable digest of JSON-able parts (dicts are sorted); dates and paths are taken by their text.

    >>> digest_of("a", {"b": 1}) == digest_of("a", {"b": 1})
    True
    """
    return hashlib.sha256(_TEXT.encode(parts).encode()).hexdigest()[:length]
