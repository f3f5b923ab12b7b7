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


def settings_of(config: Path | None, **overrides: Any) -> Settings:
    """The settings of a command; paths given on the command line take the place of the file's."""
    from sales_pipeline.settings import load_settings

    return load_settings(
        config, {name: Path(value).resolve() for name, value in overrides.items() if value is not None}
    )


def lake_root(config: Path | None, lake: Path | None) -> Path:
    """The lake's folder: the one given, else the configuration's."""
    return lake.resolve() if lake is not None else settings_of(config).lake
