"""The verdicts on one set of canonical tables, computed once and kept with it.

Belongs here: keeping them, and the Data Docs made from them. Does not belong here: the checks (`clean.validate`).
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster_project.io_managers import from_data, to_data
from sales_pipeline.contracts.canonical import CANONICAL_TABLES
from sales_pipeline.domain.identifiers import digest_bytes, digest_of
from sales_pipeline.lake.layout import STEP_FILE, Lake

if TYPE_CHECKING:
    from sales_pipeline.clean.prepare import Canonical
    from sales_pipeline.clean.validate import CheckResult

STAGE = "validated"
DOCS = "data_docs"


def validated(lake: Lake, canonical: "Canonical") -> tuple[dict[str, list["CheckResult"]], Path]:
    """The verdicts by table, and the folder of the Data Docs. Where the tables were built on others with verdicts, only rows that came since are checked."""
    from sales_pipeline.clean import business, docs, validate

    code = [digest_bytes(Path(str(module.__file__)).read_bytes()) for module in (validate, business, docs)]
    names = {name: validate.check_names(name) for name in CANONICAL_TABLES}
    key = digest_of(canonical.key, code, names)
    before = lake.step_path(STAGE, digest_of(canonical.base, code, names)) / STEP_FILE

    def build(folder: Path) -> dict[str, Any]:
        known = json.loads(before.read_text(encoding="utf-8")) if before.is_file() else {}
        results = {
            name: validate.validate(canonical, name, from_data(known[name]) if name in known else [])
            for name in CANONICAL_TABLES
        }
        docs.render_data_docs(results, folder / DOCS, run_name=canonical.key)
        return {name: to_data(verdicts) for name, verdicts in results.items()}

    folder, facts = lake.step(STAGE, key, build)
    return {name: from_data(facts[name]) for name in CANONICAL_TABLES}, folder / DOCS
