"""What assets hand to each other: references to tables at rest, never frames.

Every handed-over value is a frozen dataclass or pydantic model of the library (or a sequence of them); it is kept as JSON per asset and
partition under `lake/_dagster/refs`, so that one asset of a past day can be run again alone.

Belongs here: keeping and finding those values. Does not belong here: tables, which the library writes.
"""

import importlib
import json
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.opening import LakeResource
from sales_pipeline.errors import ConfigurationError

OUR_PACKAGES = ("sales_pipeline", "dagster_project")


@lru_cache
def _adapter(name: str) -> Any:
    """The pydantic adapter of a class named `module:qualname`, which must be one of ours."""
    from pydantic import TypeAdapter

    module, _, qualname = name.partition(":")
    if module.split(".")[0] not in OUR_PACKAGES:
        raise ValueError(f"{name} is not a type that assets hand over")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return TypeAdapter(found)


def to_data(value: Any) -> Any:
    """JSON-able data of a handed-over value; each object carries the name of its class."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return {"sequence": [to_data(item) for item in value]}
    name = f"{type(value).__module__}:{type(value).__qualname__}"
    return {"type": name, "value": _adapter(name).dump_python(value, mode="json")}


def from_data(data: Any) -> Any:
    """The inverse of `to_data`; sequences come back as lists. ValueError or LookupError where it is not the data of such a value as there are today."""
    if "sequence" in data:
        return [from_data(item) for item in data["sequence"]]
    return _adapter(data["type"]).validate_json(json.dumps(data["value"]))


class RefIOManager(dg.IOManager):
    """Keeps handed-over values as JSON files, one per asset and partition, replaced atomically.

    They are not synced: what they point to is, and one lost in a power cut (an empty file) is made again by running the day again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, asset_key: dg.AssetKey, partition: str) -> Path:
        """Where the value of an asset of one day lies."""
        return self._folder.joinpath(*asset_key.path, f"{partition}.json")

    def read(self, asset_key: dg.AssetKey, partition: str) -> Any:
        """The value of an asset of one day; ConfigurationError when that asset has not been made for the day, or by a version that handed over something else."""
        path = self.path(asset_key, partition)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if not text:
            raise ConfigurationError(
                f"{asset_key.to_user_string()} has not been made for {partition}",
                where=str(path),
                fix="run the whole job for that day first",
            )
        try:
            return from_data(json.loads(text))
        except (ValueError, LookupError, AttributeError, ImportError) as error:
            raise ConfigurationError(
                f"what {asset_key.to_user_string()} handed over for {partition} cannot be read",
                expected="a value as this version writes it",
                found=str(error).splitlines()[0],
                where=str(path),
                fix="another version made it: run the whole job for that day again",
            ) from error

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Keep a value."""
        if obj is not None:
            path = self.path(context.asset_key, context.asset_partition_key)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(json.dumps(to_data(obj), sort_keys=True, indent=1), encoding="utf-8")
            temporary.replace(path)

    def load_input(self, context: dg.InputContext) -> Any:
        """Find a value."""
        return self.read(context.asset_key, context.asset_partition_key)


@dg.io_manager(required_resource_keys={"published_lake"})
def ref_io_manager(context: dg.InitResourceContext) -> RefIOManager:
    """References beside the instance's own state in the lake. Where they lie is all it asks: jobs that write hold the lake's lock by themselves."""
    lake: LakeResource = context.resources.published_lake
    return RefIOManager(lake.refs)
