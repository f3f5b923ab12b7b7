"""How the lake keeps a run's monitoring, so that the next run finds the features it was made from.

Belongs here: the step's stage, key and facts. Does not belong here: figures (`monitor`). Nothing heavy is imported: a run that was monitored already
needs no more than this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sales_pipeline.domain.identifiers import digest_of
from sales_pipeline.lake.layout import STEP_FILE, Lake

STEP = "monitored"
FEATURES_KEY = "features_key"


def step_key(run_id: str) -> str:
    """The key of a run's monitoring step in the lake; a run id is a digest of everything the run depends on."""
    return digest_of("monitored", run_id)


def kept_facts(lake: Lake, run_id: str) -> Mapping[str, Any] | None:
    """What the step of a run says, None where the lake does not keep it."""
    path = lake.step_path(STEP, step_key(run_id)) / STEP_FILE
    if not path.is_file():
        return None
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts
