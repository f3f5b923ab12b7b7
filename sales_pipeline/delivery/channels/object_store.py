"""An object store (S3, GCS, Azure, a local path): one object a file under `<delivery_id>/`, the manifest last.

Each object is created with a conditional put: it is written only where nothing stands. What stands there with the same bytes was sent by an
earlier attempt and counts; with other bytes it is left alone and the delivery fails. A reader that waits for the manifest sees the whole kit.

Some stores have no conditional put, and some that speak S3 take the condition and ignore it: the first object is put twice, and must be refused the
second time. Such stores are used only where the settings say that nobody else writes there (`single_writer`).

Belongs here: puts, and what their errors mean. Does not belong here: credentials (the store's own way, from the environment).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
import pyarrow as pa
from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError
from obstore.store import from_url

from sales_pipeline.delivery.channels.copies import all_succeeded, kept_results, kit_files, parcel_keys
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import ObjectStoreChannel
from sales_pipeline.delivery.parcel import Parcel
from sales_pipeline.errors import ConfigurationError, DeliveryFailed

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

_TAKEN = (AlreadyExistsError, PreconditionError)
_QUERY = re.compile(r"\?\S+")


class ObjectStore:
    """A channel to one object store. `store` takes the place of the one `params.url` names, for tests and special clients."""

    def __init__(self, params: ObjectStoreChannel, *, store: Store | None = None) -> None:
        self._params = params
        self._store = store

    def send(self, parcel: Parcel, journal: Journal) -> pa.Table:
        """Put what is not there yet, and count the rows as succeeded when all of it is; see `Channel.send`.

        Raises DeliveryFailed when the store fails or another object stands in the way, and ConfigurationError when the url cannot be used or
        the store has no conditional put.
        """
        kept = kept_results(parcel, journal)
        if kept is not None:
            return kept
        keys = parcel_keys(parcel)
        files = kit_files(parcel)
        store = self._store if self._store is not None else _opened(self._params.url)
        is_tried = self._params.single_writer
        for name, digest in files.items():
            data = (parcel.folder / name).read_bytes()
            place = f"{parcel.delivery_id}/{name}"
            with _failures(place):
                is_tried = self._put(store, place, data, digest, is_tried)
        journal.note(None, "put", objects=len(files))
        return all_succeeded(parcel, keys, journal)

    def _put(self, store: Store, place: str, data: bytes, digest: str, is_tried: bool) -> bool:
        """Whether the store's conditions are known to hold, when this object is there."""
        if self._params.single_writer:
            if _digest(store, place) is None:
                obstore.put(store, place, data)
            else:
                _compare(store, place, digest)
            return is_tried
        if not is_tried and _digest(store, place) is not None:
            _compare(store, place, digest)  # before a store that ignores conditions could overwrite it
        try:
            obstore.put(store, place, data, mode="create")
        except _TAKEN:
            _compare(store, place, digest)
            return True
        except (NotImplementedError, NotSupportedError):
            raise _unconditional("the store says so") from None
        if not is_tried:
            try:
                obstore.put(store, place, data, mode="create")
            except _TAKEN:
                return True
            raise _unconditional("it put the same object twice") from None
        return True


def _digest(store: Store, place: str) -> str | None:
    """sha256 of an object, or None where there is none."""
    try:
        found = obstore.get(store, place)
    except FileNotFoundError:
        return None
    digest = hashlib.sha256()
    for chunk in found:
        digest.update(chunk)
    return digest.hexdigest()


def _compare(store: Store, place: str, digest: str) -> None:
    found = _digest(store, place)
    if found != digest:
        raise DeliveryFailed(
            "another object stands where this delivery belongs",
            expected=f"sha256 {digest}",
            found=f"sha256 {found}" if found else "an object that went away meanwhile",
            where=place,
            fix="find out who writes there; remove the object, then deliver again",
        )


def _unconditional(found: str) -> ConfigurationError:
    return ConfigurationError(
        "the store has no conditional put",
        expected="a put that is refused where an object stands",
        found=found,
        fix="set single_writer: true where nothing else writes under this url, or deliver to another store",
    )


def _opened(url: str) -> Store:
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigurationError(
            "the url of the object store holds more than a place",
            expected="s3://bucket/prefix and the like, without user, password, query or fragment",
            found=f"{parts.scheme}://…",
            fix="give credentials in the environment, in the store's own way",
        )
    try:
        return from_url(url)
    except (BaseError, ValueError) as error:
        raise ConfigurationError(
            "the object store cannot be opened", expected="a url obstore takes", found=_said(error), where=url
        ) from None


@contextmanager
def _failures(place: str) -> Iterator[None]:
    """The store's own errors as DeliveryFailed; not chained, as their details may hold a signed address."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise DeliveryFailed(
            "the object store fails",
            found=_said(error),
            where=place,
            fix="see whether the store is up and the credentials in the environment are right, then deliver again: "
            "what is there already is not sent again",
        ) from None


def _said(error: Exception) -> str:
    """The first line of an error, without what an address says after its question mark."""
    return _QUERY.sub("?…", str(error).split("\n", 1)[0])
