"""Options that several commands share, and the settings they name.

Belongs here: what a command line gives in the same words everywhere. Does not belong here: commands (`cli`, `cli_management`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sales_pipeline.settings import Settings

Config = Annotated[
    Path | None,
    typer.Option(
        "-c", "--config", help="pipeline.yaml; default $SALES_PIPELINE_CONFIG, ./pipeline.yaml or data/pipeline.yaml"
    ),
]
LakeFolder = Annotated[Path | None, typer.Option("--lake", help="lake folder, instead of the configuration's")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output")]


EngineKind = Annotated[
    str | None, typer.Option("--engine", help="duckdb or spark, instead of the configuration's engine.kind")
]
Master = Annotated[
    str | None,
    typer.Option("--master", help="Spark's master: local[2], spark://…, yarn, k8s://…, or sc://… (Spark Connect)"),
]


def settings_of(config: Path | None, *, engine: str | None = None, master: str | None = None, **paths: Any) -> Settings:
    """The settings of a command; what is given on the command line takes the place of the file's. A master alone chooses no engine."""
    from sales_pipeline.settings import load_settings

    overrides: dict[str, Any] = {name: Path(value).resolve() for name, value in paths.items() if value is not None}
    overrides["engine"] = {
        name: value for name, value in (("kind", engine), ("master", master)) if value is not None
    } or None
    return load_settings(config, overrides)


def lake_root(config: Path | None, lake: Path | None) -> Path:
    """The lake's folder: the one given, else the configuration's."""
    return lake.resolve() if lake is not None else settings_of(config).lake
