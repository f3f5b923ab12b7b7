"""Parameters of delivery. Light: no heavy import, so that settings and `--help` stay quick.

Secrets (`token`) come from the environment (`SALES_PIPELINE_DELIVERY__TARGETS__<NAME>__CHANNEL__TOKEN`) or from `token_file`, a file that
only its owner may read; the configuration file may not hold one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

KEEP_KITS = 60


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KitChannel(_Frozen):
    """A person imports the kit; its rows count as delivered when the CRM's result files come back, or when somebody confirms them."""

    kind: Literal["kit"] = "kit"


class FolderChannel(_Frozen):
    """The kit is copied into a folder that another system reads: `<path>/<delivery_id>/`, whole or not at all."""

    kind: Literal["folder"] = "folder"
    path: Path


class ObjectStoreChannel(_Frozen):
    """The kit is put into an object store under `<url>/<delivery_id>/`, its manifest last, each object with a conditional put.

    `url` is what obstore takes (s3://, gs://, az://, file://, memory://); credentials come the store's own way from the environment.
    """

    kind: Literal["object_store"] = "object_store"
    url: str
    single_writer: bool = False


class _Remote(_Frozen):
    token: SecretStr | None = None
    token_file: Path | None = None
    timeout_seconds: float = Field(default=60.0, gt=0)
    attempts: int = Field(default=5, ge=1)
    requests_per_second: float = Field(default=5.0, gt=0)


class SalesforceChannel(_Remote):
    """Bulk API 2.0. `url` is the instance's address; `token` an access token of a user who may edit the mapped fields."""

    kind: Literal["salesforce"] = "salesforce"
    url: str
    api_version: str = "62.0"
    poll_seconds: float = Field(default=5.0, gt=0)
    job_timeout_seconds: float = Field(default=3600.0, gt=0)


class TrytonChannel(_Remote):
    """Tryton's JSON-RPC. `url` is `https://host/database/`; `token` is the password of `user`."""

    kind: Literal["tryton"] = "tryton"
    url: str
    user: str
    rows_per_call: int = Field(default=500, ge=1)


class PostgresChannel(_Remote):
    """Whole runs into PostgreSQL. `url` is a libpq connection string without a password; `token` is the password, where one is needed."""

    kind: Literal["postgres"] = "postgres"
    url: str
    keep_runs: int = Field(default=30, ge=1)
    reader_role: str | None = None


ChannelParams = Annotated[
    KitChannel | FolderChannel | ObjectStoreChannel | SalesforceChannel | TrytonChannel | PostgresChannel,
    Field(discriminator="kind"),
]


class MoveLimit(_Frozen):
    """A delivery that moves too much is stopped and looked at.

    Of the rows the target already has, those count as moved whose main figure (the mapping's `moves`) differs by `at_least` or more from what was
    delivered before; without such a figure, those with any difference. More than `max_share` of them, with at least `min_rows` of
    them known, stop the delivery.
    """

    at_least: float = Field(default=0.1, gt=0)
    max_share: float = Field(default=0.3, ge=0, le=1)
    min_rows: int = Field(default=20, ge=1)


class TargetParams(_Frozen):
    """One place the tables go to.

    Parameters
    ----------
    like
        The built-in mapping it starts from; the target's own name where nothing is said.
    mapping
        A YAML file that takes the built-in mapping's place (`sales-pipeline deliver TARGET --show-mapping` prints one to start from);
        relative paths are relative to the configuration.
    channel
        How it gets there.
    keep_kits
        Settled deliveries whose kits, journals and answers stay; of older ones a line stays in the status. What waits for answers stays anyway, and
        so does the newest delivery that can be rolled back.
    scheduled
        Whether the daily delivery in Dagster includes it.
    """

    like: str | None = None
    mapping: Path | None = None
    channel: ChannelParams = KitChannel()
    scheduled: bool = False
    moves: MoveLimit = MoveLimit()
    keep_kits: int = Field(default=KEEP_KITS, ge=1)


class DeliveryParams(_Frozen):
    """Where the tables go, by name. The built-in targets need no entry: their kits can be written at once."""

    targets: dict[str, TargetParams] = Field(default_factory=dict)
