import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import HTTPStore, LocalStore, MemoryStore, S3Store

from sales_pipeline.delivery.channels.base import Channel
from sales_pipeline.delivery.channels.object_store import ObjectStore
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import ObjectStoreChannel
from sales_pipeline.delivery.parcel import Parcel
from sales_pipeline.errors import ConfigurationError, DeliveryFailed
from tests.support.parcels import a_parcel, a_part


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    kit = tmp_path / "kit"
    part = a_part(kit, "one.csv", [{"Id": f"id-{n}", "A": "1"} for n in range(3)], fields=("Id", "A"))
    (kit / "zz.txt").write_text("last by name", encoding="utf-8")
    return a_parcel(kit, part)


def send(parcel: Parcel, store: Any = None, *, url: str = "memory://", journal: str = "j", single: bool = False) -> Any:
    channel: Channel = ObjectStore(ObjectStoreChannel(url=url, single_writer=single), store=store)
    return channel.send(parcel, Journal(parcel.folder.parent / journal))


def objects(store: Any) -> dict[str, bytes]:
    names = [found["path"] for batch in store.list() for found in batch]
    return {name: bytes(store.get(name).bytes()) for name in names}


def kit_objects(parcel: Parcel) -> dict[str, bytes]:
    files = [path for path in parcel.folder.rglob("*") if path.is_file()]
    return {f"{parcel.delivery_id}/{path.relative_to(parcel.folder)}": path.read_bytes() for path in files}


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_the_whole_kit_arrives_once(parcel: Parcel, tmp_path: Path, kind: str) -> None:
    (tmp_path / "bucket").mkdir()
    store = MemoryStore() if kind == "memory" else LocalStore(tmp_path / "bucket")
    first = send(parcel, store)
    assert set(first["outcome"].to_pylist()) == {"succeeded"}
    assert first.num_rows == 3
    assert objects(store) == kit_objects(parcel)
    assert send(parcel, store).equals(first)
    assert send(parcel, store, journal="a lost one").equals(first)


def test_a_url_is_opened_by_obstore(parcel: Parcel, tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    send(parcel, url=f"file://{tmp_path}/bucket")
    assert objects(LocalStore(tmp_path / "bucket")) == kit_objects(parcel)


def test_the_manifest_comes_last_and_a_delivery_that_dies_at_any_object_goes_on(
    parcel: Parcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = obstore.put
    for dies_at in (1, 2, 3):
        store = MemoryStore()
        put: list[str] = []

        def dying(store: Any, path: str, data: bytes, put: list[str] = put, at: int = dies_at, **more: Any) -> Any:
            if len(put) + 1 == at:
                put.append("dead")
                raise obstore.exceptions.GenericError("the connection broke\n\nDebug source: secrets")
            done = real(store, path, data, **more)
            put.append(path)
            return done

        with monkeypatch.context() as patched:
            patched.setattr(obstore, "put", dying)
            with pytest.raises(DeliveryFailed, match=r"(?s)store fails.*found: the connection broke\n") as caught:
                send(parcel, store, journal=str(dies_at))
        assert "secrets" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert f"{parcel.delivery_id}/manifest.json" not in objects(store)
        send(parcel, store, journal=str(dies_at))
        assert objects(store) == kit_objects(parcel)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("name", ["one.csv", "manifest.json"])
def test_another_object_in_the_way_is_left_alone(parcel: Parcel, name: str, single: bool) -> None:
    store = MemoryStore()
    store.put(f"{parcel.delivery_id}/{name}", b"other")
    with pytest.raises(DeliveryFailed, match=f"(?s)another object stands.*where: {parcel.delivery_id}/{name}"):
        send(parcel, store, single=single)
    assert objects(store)[f"{parcel.delivery_id}/{name}"] == b"other"


class Bucket:
    """An HTTP server that stores what is put; it may honour If-None-Match, or ignore it, or be broken."""

    def __init__(self, conditions: bool = True, is_broken: bool = False) -> None:
        self.conditions, self.is_broken = conditions, is_broken
        self.held: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.url = ""


@contextmanager
def bucket(**options: bool) -> Iterator[Bucket]:
    state = Bucket(**options)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.split("?")[0]
            status, data = (200, b"") if self.command == "PUT" else (200, state.held.get(path, b""))
            if state.is_broken:
                status, data = 403, b"no"
            elif self.command == "PUT":
                if state.conditions and self.headers.get("If-None-Match") == "*" and path in state.held:
                    status = 412
                else:
                    state.puts.append(path)
                    state.held[path] = body
            elif path not in state.held:
                status = 404
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.md5(state.held.get(path, b"")).hexdigest()}"')
            self.send_header("Last-Modified", "Tue, 30 Jun 2026 00:00:00 GMT")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None: ...

    for method in ("GET", "HEAD", "PUT"):
        setattr(Handler, f"do_{method}", Handler.serve)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def s3(there: Bucket) -> Any:
    return S3Store(
        "bucket",
        endpoint=there.url,
        region="x",
        skip_signature=True,
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},  # type: ignore[typeddict-item]
    )


def test_an_s3_store_that_keeps_conditions_is_used(parcel: Parcel) -> None:
    with bucket() as there:
        assert send(parcel, s3(there)).num_rows == 3
        assert {name.removeprefix("/bucket/"): data for name, data in there.held.items()} == kit_objects(parcel)
        assert len(there.puts) == len(set(there.puts)) == 3
        assert there.puts[-1].endswith("manifest.json")


def test_an_s3_store_that_ignores_conditions_is_refused_unless_nobody_else_writes_there(parcel: Parcel) -> None:
    with bucket(conditions=False) as there:
        with pytest.raises(
            ConfigurationError, match=r"(?s)no conditional put.*put the same object twice.*single_writer"
        ):
            send(parcel, s3(there))
        assert not any(name.endswith("manifest.json") for name in there.held)
        assert send(parcel, s3(there), single=True).num_rows == 3
        assert {name.removeprefix("/bucket/"): data for name, data in there.held.items()} == kit_objects(parcel)


def test_a_store_that_ignores_conditions_does_not_overwrite_what_others_put(parcel: Parcel) -> None:
    with bucket(conditions=False) as there:
        there.held[f"/bucket/{parcel.delivery_id}/one.csv"] = b"other"
        with pytest.raises(DeliveryFailed, match="another object stands"):
            send(parcel, s3(there))
        assert there.puts == []


def test_a_store_without_conditions_is_refused_unless_nobody_else_writes_there(parcel: Parcel) -> None:
    with bucket() as there:
        store = HTTPStore(there.url, client_options={"allow_http": True})
        with pytest.raises(ConfigurationError, match=r"(?s)no conditional put.*the store says so"):
            send(parcel, store)
        assert there.held == {}
        assert send(parcel, store, single=True).num_rows == 3
        assert send(parcel, store, single=True, journal="a lost one").num_rows == 3
        assert len(there.puts) == 3


def test_a_store_that_refuses_says_so_in_one_line(parcel: Parcel) -> None:
    fails = pytest.raises(DeliveryFailed, match=r"(?s)the object store fails.*403.*credentials")
    with bucket(is_broken=True) as there, fails as caught:
        send(parcel, s3(there))
    assert "Debug source" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("zz://bucket", "cannot be opened"),
        ("file:///no/such/folder/anywhere", "cannot be opened"),
        ("s3://canary:canary@bucket", "more than a place"),
        ("az://c/p?sig=canary", "more than a place"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_a_secret(parcel: Parcel, url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        send(parcel, url=url)
    assert "canary" not in str(caught.value)
