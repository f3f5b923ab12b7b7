"""Alerts, hand-over by reference, run plans and the doctor."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from pydantic import SecretStr

from dagster_project.doctor import examine, examine_lake
from dagster_project.hooks import alert
from dagster_project.io_managers import RefIOManager, from_data, to_data
from dagster_project.plan import RunPlan, plan_run
from sales_pipeline.domain.time import AsOf
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.lake.layout import Lake
from sales_pipeline.lake.runs import publish_run, write_run
from sales_pipeline.lake.tables import TableRef
from sales_pipeline.settings import AlertSettings, Settings, code_version
from tests.dagster.conftest import DAY

REF = TableRef("accounts", "lake/accounts.parquet", 3, "ab")


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    thread.join()
    server.server_close()


def with_webhook(settings: Settings, address: str) -> Settings:
    return settings.model_copy(update={"alerts": AlertSettings(webhook_url=SecretStr(address))})


def test_alert_posts_to_the_webhook(settings: Settings, webhook: tuple[str, list[dict[str, Any]]]) -> None:
    address, received = webhook
    alert(with_webhook(settings, address), "a step failed", {"step": "prepare"})
    assert received == [
        {"subject": "a step failed", "text": 'a step failed: {"step": "prepare"}', "facts": {"step": "prepare"}}
    ]


def test_alert_is_a_log_line_without_a_webhook_and_when_it_fails(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    alert(settings, "a step failed", {"step": "prepare"})
    alert(with_webhook(settings, "http://127.0.0.1:9/secret"), "a step failed", {})
    alert(with_webhook(settings, "file:///etc/hosts"), "a step failed", {})
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    assert "secret" not in caplog.text


def test_references_survive_the_way_over_disk(tmp_path: Path) -> None:
    manager = RefIOManager(tmp_path)
    value = [REF, RunPlan("run-1", "2026-07-01T00:00:00Z", ("e",), "s", "c", "m", "v", None, None, False)]
    key = dg.AssetKey("run_plan")
    context = dg.build_output_context(asset_key=key, partition_key="2026-06-30")
    manager.handle_output(context, value)
    assert manager.read(key, "2026-06-30") == value
    with pytest.raises(ConfigurationError, match="has not been made for 2026-06-29"):
        manager.read(key, "2026-06-29")


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "sales_pipeline.lake.tables:TableRef", "value": {"of_another_version": 1}}',
        '{"type": "sales_pipeline.lake.tables:Gone", "value": {}}',
        '{"type": "sales_pipeline.gone:Gone", "value": {}}',
        '{"value": {}}',
        "{",
    ],
)
def test_what_another_version_handed_over_is_to_be_made_again(text: str, tmp_path: Path) -> None:
    manager, key = RefIOManager(tmp_path), dg.AssetKey("canonical_tables")
    path = manager.path(key, "2026-06-30")
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(
        ConfigurationError, match="canonical_tables handed over for 2026-06-30 cannot be read"
    ) as raised:
        manager.read(key, "2026-06-30")
    assert raised.value.fix == "another version made it: run the whole job for that day again"


def test_only_our_own_types_are_handed_over() -> None:
    @dataclass(frozen=True)
    class Foreign:
        value: int

    Foreign.__module__ = "somewhere_else"
    with pytest.raises(ValueError, match="not a type that assets hand over"):
        to_data(Foreign(1))
    with pytest.raises(ValueError, match="not a type that assets hand over"):
        from_data({"type": "subprocess:Popen", "value": {}})


def champion(version: str) -> Any:
    return lambda: SimpleNamespace(name="win", version=version)


def publish(lake: Lake, plan: RunPlan) -> None:
    write_run(lake, plan.run_id, lambda _: plan.manifest())
    publish_run(lake, plan.run_id)


def test_a_day_is_repeated_with_the_model_and_previous_run_of_its_manifest(settings: Settings) -> None:
    lake, as_of = Lake(settings.lake), AsOf.end_of_day(DAY)
    first = plan_run(lake, settings, as_of, ["e1"], champion("v1"))
    assert first.previous_run_id is None
    assert not first.is_repeat
    publish(lake, first)
    repeated = plan_run(lake, settings, as_of, ["e1"], champion("v2"))
    assert repeated.is_repeat
    assert (repeated.run_id, repeated.model_version) == (first.run_id, "v1")
    with_new_export = plan_run(lake, settings, as_of, ["e1", "e2"], champion("v2"))
    assert not with_new_export.is_repeat
    assert with_new_export.model_version == "v2"
    assert with_new_export.run_id != first.run_id


def test_a_day_is_repeated_with_the_replay_of_its_manifest(settings: Settings) -> None:
    lake, as_of = Lake(settings.lake), AsOf.end_of_day(DAY)
    first = plan_run(lake, settings, as_of, ["e1"], champion("v1"))
    assert first.replay_key is None
    publish(lake, first)
    folder = lake.step_path("replays", "r1")
    folder.mkdir(parents=True)
    (folder / "facts.json").write_text(json.dumps({"end": as_of.isoformat(), "dates": []}))
    assert plan_run(lake, settings, as_of, ["e1"], champion("v1")).replay_key is None
    other = plan_run(lake, settings, as_of, ["e1", "e2"], champion("v1"))
    assert other.replay_key == "r1"
    assert other.manifest()["replay_key"] == "r1"


def test_the_previous_run_is_the_published_one_with_the_greatest_earlier_as_of(settings: Settings) -> None:
    lake = Lake(settings.lake)
    earlier = plan_run(lake, settings, AsOf.end_of_day(DAY.replace(day=28)), ["e1"], champion("v1"))
    publish(lake, earlier)
    later = plan_run(lake, settings, AsOf.end_of_day(DAY), ["e1"], champion("v1"))
    assert later.previous_run_id == earlier.run_id
    assert later.code_version == code_version()


def test_without_a_model_a_plan_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="run the training job"):
        plan_run(Lake(settings.lake), settings, AsOf.end_of_day(DAY), ["e1"], lambda: None)


def test_doctor_finds_a_changed_published_file(settings: Settings) -> None:
    lake = Lake(settings.lake)

    def build(folder: Path) -> dict[str, Any]:
        (folder / "README.txt").write_text("as published")
        return {"as_of": "2026-07-01T00:00:00Z"}

    write_run(lake, "run-1", build)
    publish_run(lake, "run-1")
    assert {finding.level for finding in examine_lake(lake)} <= {"ok", "warning"}
    (lake.runs / "run-1" / "README.txt").write_text("changed since")
    errors = [finding.message for finding in examine_lake(lake) if finding.level == "error"]
    assert len(errors) == 1
    assert "changed or lost" in errors[0]


def test_doctor_says_when_there_is_no_configuration(tmp_path: Path) -> None:
    findings = examine(tmp_path / "none.yaml")
    assert any(finding.level == "error" and finding.message.startswith("configuration") for finding in findings)
    assert any(finding.message.startswith("dagster ") for finding in findings)
