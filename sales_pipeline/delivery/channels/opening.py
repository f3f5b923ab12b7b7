"""From what the settings say to a channel that is ready.

Belongs here: which class serves which kind. Does not belong here: how any of them works.
"""

from __future__ import annotations

from sales_pipeline.delivery.channels.base import Channel
from sales_pipeline.delivery.params import (
    ChannelParams,
    FolderChannel,
    KitChannel,
    ObjectStoreChannel,
    SalesforceChannel,
    TrytonChannel,
)
from sales_pipeline.errors import ConfigurationError


def open_channel(params: ChannelParams) -> Channel | None:
    """The way to a target; None where a person imports the kit.

    Nothing is connected and no secret is read before the first row is sent. Raises ConfigurationError for PostgreSQL, which takes no kits.
    """
    # Each way brings its own library: only the one that is used is loaded.
    if isinstance(params, KitChannel):
        return None
    if isinstance(params, FolderChannel):
        from sales_pipeline.delivery.channels.folder import Folder

        return Folder(params)
    if isinstance(params, ObjectStoreChannel):
        from sales_pipeline.delivery.channels.object_store import ObjectStore

        return ObjectStore(params)
    if isinstance(params, SalesforceChannel):
        from sales_pipeline.delivery.channels.salesforce import Salesforce

        return Salesforce(params)
    if isinstance(params, TrytonChannel):
        from sales_pipeline.delivery.channels.tryton import TrytonImport

        return TrytonImport(params)
    raise ConfigurationError(
        "PostgreSQL takes whole runs, no kits",
        found="a channel of kind postgres",
        fix="deliver it as a target of its own: `sales-pipeline publish postgres`",
    )
