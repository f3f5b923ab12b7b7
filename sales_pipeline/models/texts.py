"""Texts of boosted trees, beside the JSON of the estimators they belong to: a bundle keeps each in a file of its own.

Belongs here: taking them out of an estimator's data and putting them back. Does not belong here: files (`bundle`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def take_texts(data: Mapping[str, Any], name: str, texts: dict[str, str]) -> dict[str, Any]:
    """An estimator's data with the texts of its boosted trees, also a blend's members', moved to `texts` under file names that start with `name`.

    `text_file` stands in their place; `put_texts` is the inverse.
    """
    rest = dict(data)
    if "text" in rest:
        rest["text_file"] = f"{name}_boosting.txt"
        texts[rest["text_file"]] = rest.pop("text")
    if "members" in rest:
        rest["members"] = [
            take_texts(member, f"{name}_{number}", texts) for number, member in enumerate(rest["members"], start=1)
        ]
    return rest


def put_texts(data: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """The inverse of `take_texts`. KeyError where a file is missing."""
    whole = dict(data)
    if "text_file" in whole:
        whole["text"] = texts[whole.pop("text_file")]
    if "members" in whole:
        whole["members"] = [put_texts(member, texts) for member in whole["members"]]
    return whole
