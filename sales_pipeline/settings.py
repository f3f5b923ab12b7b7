"""One settings tree, and the only reader of the environment.

Order of precedence: values given in code (command-line flags), environment variables `SALES_PIPELINE_…` (nested with `__`), the
YAML file, defaults. Relative paths in the file are relative to the file.

Belongs here: composing the packages' parameters. Does not belong here: their meaning (each package's `params.py`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from sales_pipeline import __version__
from sales_pipeline.clean.params import CleanParams
from sales_pipeline.delivery.params import DeliveryParams
from sales_pipeline.domain.identifiers import digest_bytes, digest_of
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.features.params import FeatureParams
from sales_pipeline.follow_up.effect_params import ContactEffectParams
from sales_pipeline.follow_up.params import FollowUpParams
from sales_pipeline.ingest.params import SourceMapping
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.monitoring.params import MonitoringParams
from sales_pipeline.sales_management.params import AccountParams, ForecastParams, TeamParams
from sales_pipeline.scoring.params import ScoringParams

CONFIG_VARIABLE = "SALES_PIPELINE_CONFIG"
SECRETS = frozenset({"token", "webhook_url"})
"""Settings that are never shown."""

_MASTER = re.compile(r"local(\[(\d+|\*)(, *\d+)?\])?|yarn|(spark|k8s|sc)://\S+")
ENGINE_TOKEN = "SALES_PIPELINE_ENGINE__TOKEN"
CONFIG_NAMES = ("pipeline.yaml", "data/pipeline.yaml")


class EngineSettings(BaseModel):
    """Where the SQL models run, and the limits. No result depends on it: a run gives the same tables on either engine.

    `duckdb` (the default) runs in this process and spills what does not fit. `spark` runs all SQL models (clean, features, leak statistics,
    follow-up, management, forecast) on a Spark master. Two things stay in this process whichever is chosen: the strict reading of exports with its row
    ledger, which numbers every physical record of a file in order, as a reader of file splits cannot; and fitting models, on tables small
    enough for one machine. `threads` is the embedded engine's, and fixed so that equal runs give equal bytes.

    Parameters
    ----------
    memory_limit
        Of the embedded engine, such as `4GB`; what does not fit is spilled into the lake's `_spill`. None: a quarter of the memory the machine
        or the container has, at least 1 GiB. The process takes more than the engine: frames of validation, models.
    master
        `local[2]`, `spark://host:7077`, `yarn`, `k8s://https://…`, or a Spark Connect address `sc://host:443/;x-databricks-cluster-id=…`.
    token
        Of a Spark Connect server; from the environment only (SALES_PIPELINE_ENGINE__TOKEN).
    shuffle_partitions
        Of every join and aggregation on Spark: two to four per core of the cluster; adaptive execution merges small ones.
    driver_memory
        The heap of Spark's driver, as Spark writes sizes.
    folder
        Where Spark keeps what lies between two steps. Every node must see it, as it must see the lake. None: in the lake.
    conf
        More of Spark's own settings by name, such as `spark.executor.memory`.
    java_home
        The Java to prefer for Spark; None takes $JAVA_HOME, the `java` on the path, or the one the extra brings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["duckdb", "spark"] = "duckdb"
    threads: int = Field(default=2, ge=1)
    memory_limit: str | None = None
    master: str = "local[2]"
    token: SecretStr | None = None
    shuffle_partitions: int = Field(default=8, ge=1)
    driver_memory: str = Field(default="2g", pattern=r"^[1-9]\d*[kmgt]$")
    folder: Path | None = None
    conf: dict[str, str] = {}
    java_home: Path | None = None

    @model_validator(mode="after")
    def _is_a_master(self) -> EngineSettings:
        if re.search(r"token\s*=", self.master, re.IGNORECASE):
            raise ValueError(f"a token stands in engine.master: give it as {ENGINE_TOKEN} in the environment")
        if not _MASTER.fullmatch(self.master):
            raise ValueError(
                f"engine.master {self.master!r} is none of local[N], spark://…, yarn, k8s://… and sc://… (Spark Connect)"
            )
        return self


class _Engine(BaseModel):
    """The engine alone, so that a problem with it is named as one of the whole tree is."""

    engine: EngineSettings


class TrackingSettings(BaseModel):
    """Where experiments are kept; without a `uri`, in the lake.

    Under `mlflow run` the variables that command sets (MLFLOW_RUN_ID, MLFLOW_TRACKING_URI) take the place of both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str | None = None
    experiment: str = "sales-pipeline"
    model_name: str = "win-probability"
    parent_run_id: str | None = None


class AlertSettings(BaseModel):
    """Where failures and stale data are told; without a URL they are log lines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    webhook_url: SecretStr | None = None


class Settings(BaseSettings):
    """Everything a run depends on besides the exports and the as-of."""

    model_config = SettingsConfigDict(
        env_prefix="SALES_PIPELINE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    source_system: str = "crm"
    exports: Path = Path("exports")
    lake: Path = Path("lake")
    time_zone: str = "UTC"
    start_date: date = date(2000, 1, 1)
    max_staleness_days: int = Field(default=7, ge=0)
    mapping: SourceMapping
    clean: CleanParams = CleanParams()
    features: FeatureParams = FeatureParams()
    training: TrainingParams = TrainingParams()
    scoring: ScoringParams = ScoringParams()
    follow_up: FollowUpParams = FollowUpParams()
    contact_effect: ContactEffectParams = ContactEffectParams()
    forecast: ForecastParams = ForecastParams()
    team: TeamParams = TeamParams()
    accounts: AccountParams = AccountParams()
    monitoring: MonitoringParams = MonitoringParams()
    delivery: DeliveryParams = DeliveryParams()
    engine: EngineSettings = EngineSettings()
    tracking: TrackingSettings = TrackingSettings()
    alerts: AlertSettings = AlertSettings()

    _path: Path | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _mapping_inherits(cls, data: Any) -> Any:
        """`source_system` and `time_zone` are said once, at the top, and hold for the mapping too."""
        if isinstance(data, dict) and isinstance(data.get("mapping"), dict):
            inherited = {name: data[name] for name in ("source_system", "time_zone") if name in data}
            return {**data, "mapping": {**inherited, **data["mapping"]}}
        return data

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment first; the file arrives as init values and stands below it."""
        return (env_settings, init_settings)

    @property
    def path(self) -> Path | None:
        """The file the settings came from."""
        return self._path

    def result_digest(self) -> str:
        """A digest of what a run's results depend on: mapping and parameters, not places, alerts or limits."""
        parts = self.model_dump(
            mode="json",
            include={
                "source_system",
                "time_zone",
                "mapping",
                "clean",
                "features",
                "scoring",
                "follow_up",
                "forecast",
                "team",
                "accounts",
                "monitoring",
            },
        )
        return digest_of(parts)


def find_config(path: Path | None = None) -> Path:
    """The configuration file: the one given, else $SALES_PIPELINE_CONFIG, else pipeline.yaml or data/pipeline.yaml here."""
    if path is None and CONFIG_VARIABLE in os.environ:
        path = Path(os.environ[CONFIG_VARIABLE])
    if path is None:
        path = next((Path(name) for name in CONFIG_NAMES if Path(name).is_file()), None)
    if path is None:
        raise ConfigurationError(
            "no configuration found",
            expected=f"-c FILE, ${CONFIG_VARIABLE}, or one of {', '.join(CONFIG_NAMES)} in this folder",
            fix="let `sales-pipeline init EXPORTS -o pipeline.yaml` write one",
        )
    if not path.is_file():
        raise ConfigurationError("the configuration file is not there", expected="a YAML file", where=str(path))
    return path


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a file, with overrides given in code on top; ConfigurationError lists all problems at once.

    An override takes the place of a whole setting; of `engine` it is a mapping of those of its settings that are given.
    """
    found = find_config(path)
    data = _read_yaml(found)
    base = found.resolve().parent
    for name in ("exports", "lake"):
        data[name] = str(base / str(data.get(name, name)))
    _settle_delivery(data, base, found)
    _settle_engine(data, base, found)
    tracking = {
        name: os.environ[variable]
        for name, variable in (("parent_run_id", "MLFLOW_RUN_ID"), ("uri", "MLFLOW_TRACKING_URI"))
        if os.environ.get(variable)
    }
    if tracking:
        data["tracking"] = {**(data.get("tracking") or {}), **tracking}
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    engine = given.pop("engine", {})
    try:
        settings = Settings(**data)
        if engine:
            given["engine"] = _Engine(engine=settings.engine.model_dump() | dict(engine)).engine
        if given:
            settings = settings.model_copy(update=given)
    except ValidationError as error:
        problems = [
            ConfigurationError(
                f"{'.'.join(str(part) for part in problem['loc']) or 'settings'}: {problem['msg']}",
                found=_shown(problem["loc"], problem.get("input")),
                where=str(found),
            )
            for problem in error.errors()
        ]
        raise ConfigurationError.all_of("the configuration is wrong", problems) from error
    settings._path = found.resolve()
    return settings


def _settle_engine(data: dict[str, Any], base: Path, found: Path) -> None:
    """Spark's folder stands relative to the file; $JAVA_HOME is the Java to prefer where the file names none; a secret may not stand in it."""
    engine = data.get("engine") or {}
    if not isinstance(engine, dict):
        return
    if "token" in engine:
        raise ConfigurationError(
            "a secret stands in the configuration",
            expected=f"{ENGINE_TOKEN} in the environment",
            found="engine.token",
            where=str(found),
            fix="take it out of the file, and out of every copy of it",
        )
    if engine.get("folder"):
        engine = {**engine, "folder": str(base / str(engine["folder"]))}
    if os.environ.get("JAVA_HOME"):
        engine = {"java_home": os.environ["JAVA_HOME"], **engine}
    if engine:
        data["engine"] = engine


def _shown(place: Sequence[int | str], value: object) -> str:
    """A wrong value for a message: never a secret, and of what holds several values only what it is."""
    if isinstance(value, dict | list | tuple) or SECRETS.intersection(place):
        return type(value).__name__
    return str(value)[:120]


def _settle_delivery(data: dict[str, Any], base: Path, found: Path) -> None:
    """Paths of targets stand relative to the file; a secret may not stand in it."""
    delivery = data.get("delivery")
    targets = delivery.get("targets") if isinstance(delivery, dict) else None
    for name, target in (targets or {}).items() if isinstance(targets, dict) else ():
        channel = target.get("channel") if isinstance(target, dict) else None
        if isinstance(channel, dict) and "token" in channel:
            raise ConfigurationError(
                "a secret stands in the configuration",
                expected=f"SALES_PIPELINE_DELIVERY__TARGETS__{str(name).upper()}__CHANNEL__TOKEN in the environment, or token_file",
                found=f"delivery.targets.{name}.channel.token",
                where=str(found),
                fix="take it out of the file, and out of every copy of it",
            )
        for part, key in ((target, "mapping"), (channel, "path"), (channel, "token_file")):
            if isinstance(part, dict) and part.get(key):
                part[key] = str(base / str(part[key]))


@cache
def code_version() -> str:
    """The version of this code that results depend on: the release, and a digest of the library's sources (templates of pages too)."""
    root = Path(__file__).parent
    sources = sorted(path for path in root.rglob("*") if path.suffix in (".py", ".sql", ".j2"))
    return f"{__version__}+{digest_of([(str(path.relative_to(root)), digest_bytes(path.read_bytes())) for path in sources])}"


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the configuration is not readable YAML", found=str(error).replace("\n", " "), where=str(path)
        ) from error
    if not isinstance(data, dict):
        raise ConfigurationError(
            "the configuration is not a mapping of names to values", found=type(data).__name__, where=str(path)
        )
    return data
