"""Where the models run, as the settings say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.cli_options import settings_of
from dagster_project.doctor import configuration
from sales_pipeline.engines.spark import _with_token
from sales_pipeline.errors import ConfigurationError
from sales_pipeline.settings import load_settings

MINIMAL = "source_system: demo\nmapping:\n  dialect: salesforce\n"


def write(folder: Path, text: str = "") -> Path:
    path = folder / "pipeline.yaml"
    path.write_text(MINIMAL + text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "master",
    ["local", "local[2]", "local[*]", "local[4, 2]", "yarn", "spark://127.0.0.1:7077", "k8s://https://10.0.0.1:6443", "sc://localhost:15002"],
)  # fmt: skip
def test_every_kind_of_master_is_taken(master: str, tmp_path: Path) -> None:
    found = load_settings(
        write(tmp_path, f"engine: {{kind: spark, master: '{master}', folder: shared/spark}}\n")
    ).engine
    assert (found.kind, found.master, found.folder) == ("spark", master, tmp_path / "shared" / "spark")


def test_without_a_word_the_embedded_engine_is_chosen(tmp_path: Path) -> None:
    assert load_settings(write(tmp_path)).engine.kind == "duckdb"


@pytest.mark.parametrize(
    ("text", "named"),
    [("kind: pandas", "engine.kind"), ("master: mesos://x", "engine.master"), ("shuffle_partitions: 0", "engine.shuffle_partitions"),
     ("driver_memory: much", "engine.driver_memory")],
)  # fmt: skip
def test_a_wrong_word_is_named(text: str, named: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load_settings(write(tmp_path, f"engine: {{{text}}}\n"))


def test_the_command_line_beats_the_environment_and_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "engine: {kind: duckdb, threads: 3, shuffle_partitions: 5}\n")
    monkeypatch.setenv("SALES_PIPELINE_ENGINE__MASTER", "yarn")
    assert settings_of(path, engine="spark").engine.master == "yarn"
    found = settings_of(path, engine="spark", master="local[1]").engine
    assert (found.kind, found.master, found.threads, found.shuffle_partitions) == ("spark", "local[1]", 3, 5)


def test_a_wrong_engine_on_the_command_line_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"engine\.kind") as raised:
        settings_of(write(tmp_path), engine="flink")
    assert "flink" in str(raised.value)


def test_results_do_not_depend_on_the_engine(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert settings_of(path).result_digest() == settings_of(path, engine="spark", master="yarn").result_digest()


def test_java_home_is_the_java_to_prefer_where_the_file_names_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/opt/java")
    assert load_settings(write(tmp_path)).engine.java_home == Path("/opt/java")
    assert load_settings(write(tmp_path, "engine: {java_home: /opt/other}\n")).engine.java_home == Path("/opt/other")


@pytest.mark.parametrize(
    "text", ["token: s3cret", "master: 'sc://host:443/;token=s3cret'", "master: 'sc://host/;a=b; Token =s3cret'"]
)
def test_a_token_in_the_file_is_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="SALES_PIPELINE_ENGINE__TOKEN") as raised:
        load_settings(write(tmp_path, f"engine: {{{text}}}\n"))
    assert "s3cret" not in str(raised.value)


def test_a_token_of_the_environment_is_used_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALES_PIPELINE_ENGINE__TOKEN", "s3cret")
    settings = settings_of(write(tmp_path), engine="spark", master="sc://host:443/;user_id=me")
    assert settings.engine.token is not None
    assert "s3cret" not in str(settings.model_dump(mode="json"))
    token = settings.engine.token.get_secret_value()
    assert _with_token(settings.engine.master, token) == "sc://host:443/;user_id=me;token=s3cret"
    assert _with_token("sc://host:443", token) == "sc://host:443/;token=s3cret"
    assert _with_token("sc://host", None) == "sc://host"


def test_doctor_tells_what_spark_would_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "engine: {kind: spark}\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = [finding for finding in configuration(load_settings(path)) if finding.message.startswith("Spark")]
    assert [finding.level for finding in told] == ["error"]
    assert "sales-pipeline[spark]" in told[0].message
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.1.4")
    monkeypatch.setattr(
        "sales_pipeline.engines.java.java_version", lambda home: 21 if home == Path("/opt/jdk") else None
    )
    local = load_settings(write(tmp_path, "engine: {kind: spark, java_home: /opt/jdk}\n"))
    remote = load_settings(write(tmp_path, "engine: {kind: spark, master: 'sc://host:443'}\n"))
    found = [
        finding for settings in (local, remote) for finding in configuration(settings) if "Spark" in finding.message
    ]
    assert [(finding.level, finding.message) for finding in found] == [
        ("ok", "Spark: pyspark 4.1.4, master local[2], Java 21 of JAVA_HOME"),
        ("ok", "Spark: pyspark 4.1.4, master sc://host:443"),
    ]


def test_doctor_says_nothing_of_spark_where_it_is_not_chosen(tmp_path: Path) -> None:
    assert not [finding for finding in configuration(load_settings(write(tmp_path))) if "Spark" in finding.message]
