"""PostgreSQL through the channel, the command line and Dagster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sales_pipeline.delivery.channels.postgres import PostgresTables, run_parcel
from sales_pipeline.delivery.journal import Journal
from sales_pipeline.delivery.params import PostgresChannel
from sales_pipeline.settings import load_settings
from tests.support.cli import DEALS_MAPPING, IGNORED_WARNINGS, call, write_config
from tests.support.postgres_asked import shown
from tests.support.postgres_server import Server, missing
from tests.support.published_lake import published_folder

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
    *(pytest.mark.filterwarnings(warning) for warning in IGNORED_WARNINGS),
]


def test_the_channel_gives_a_result_per_table_and_publishes_once(
    postgres: Server, database: str, tmp_path: Path, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parcel = run_parcel(published_folder(tmp_path, "run-1"), "warehouse")
    assert {part.operation for part in parcel.parts} == {"replace"}
    assert parcel.path(parcel.parts[0]).is_file()
    channel = PostgresTables(PostgresChannel(url=postgres.url(database)), postgres.password)
    results = channel.send(parcel, Journal(tmp_path / "journal"))
    assert [row["key"] for row in results.to_pylist()] == sorted(part.object_name for part in parcel.parts)
    assert set(results.column("outcome").to_pylist()) == {"succeeded"}
    assert "3 rows, shown" in results.column("message").to_pylist()
    # The database knows what it has, whatever the journal says.
    for place in ("journal", "other"):
        assert channel.send(parcel, Journal(tmp_path / place)).equals(results)
        (note,) = Journal(tmp_path / place).notes(None)[-1:]
        assert (note["run_id"], note["is_new"], note["is_current"]) == ("run-1", False, True)
    assert ask("SELECT count(*) FROM runs.ledger") == [(1,)]


def test_the_channel_says_when_a_newer_run_is_shown(postgres: Server, database: str, tmp_path: Path) -> None:
    channel = PostgresTables(PostgresChannel(url=postgres.url(database)), postgres.password)
    channel.send(run_parcel(published_folder(tmp_path, "run-2", day=1), "warehouse"), Journal(tmp_path / "2"))
    results = channel.send(run_parcel(published_folder(tmp_path, "run-1"), "warehouse"), Journal(tmp_path / "1"))
    assert "3 rows, kept, a newer run is shown" in results.column("message").to_pylist()


@pytest.fixture
def configured(postgres: Server, database: str, tmp_path: Path) -> Path:
    """A configuration with the target `postgres`, its password in a file that only its owner may read."""
    secret = tmp_path / "secret"
    secret.write_text(postgres.password + "\n")
    secret.chmod(0o600)
    channel = {"kind": "postgres", "url": postgres.url(database), "token_file": str(secret), "keep_runs": 1}
    targets = {"postgres": {"channel": channel, "scheduled": True}}
    return write_config(tmp_path, mapping=DEALS_MAPPING, delivery={"targets": targets})


def test_the_command_line_publishes_a_run_and_says_what_became_of_it(
    configured: Path, postgres: Server, tmp_path: Path, ask: Any
) -> None:
    published_folder(tmp_path / "lake", "run-1")
    done = call("publish", "postgres", "-c", configured, "--json").done()
    assert (done.json["ended"], done.json["run_id"]) == ("published", "run-1")
    assert shown(ask) == ["run-1"]
    assert call("publish", "postgres", "-c", configured, "--json").done().json["ended"] == "nothing_new"
    published_folder(tmp_path / "lake", "run-2", day=1)
    assert call("publish", "postgres", "-c", configured, "--json").done().json["ended"] == "published"
    assert shown(ask) == ["run-2"]
    assert call("publish", "postgres", "-c", configured, "--run", "run-1", "--json").done().json["ended"] == "kept"
    assert shown(ask) == ["run-2"]


def test_the_command_line_says_what_is_wrong_without_the_password(
    configured: Path, postgres: Server, tmp_path: Path
) -> None:
    published_folder(tmp_path / "lake", "run-1")
    (tmp_path / "secret").write_text("hunter2-is-wrong")
    refused = call("publish", "postgres", "-c", configured).refused(8, "refused the user or the password")
    assert "hunter2" not in refused.text
    assert postgres.password not in refused.text


def test_the_scheduled_asset_publishes_the_days_run(configured: Path, tmp_path: Path, ask: Any) -> None:
    import dagster as dg

    from dagster_project.definitions import build_definitions
    from dagster_project.jobs import DELIVERY_JOB

    published_folder(tmp_path / "lake", "run-1")
    job = build_definitions(load_settings(configured)).resolve_job_def(DELIVERY_JOB)
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, partition_key="2026-06-30").success
    assert shown(ask) == ["run-1"]


def test_the_command_line_prints_the_roles_and_they_are_enough_to_publish(
    configured: Path, postgres: Server, database: str, tmp_path: Path, ask: Any
) -> None:
    published_folder(tmp_path / "lake", "run-1")
    publisher, reader = f"{database}_p", f"{database}_r"
    ask(call("publish", "roles", publisher, reader).done().out)
    ask(f"ALTER ROLE {publisher} PASSWORD '{postgres.password}'")
    configured.write_text(configured.read_text().replace(postgres.url(database), postgres.url(database, publisher)))
    call("publish", "postgres", "-c", configured).done()
    assert ask("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'published'") == [(publisher,)]
    assert shown(ask) == ["run-1"]
