from pathlib import Path

import pytest

from sales_pipeline.errors import ConfigurationError
from sales_pipeline.settings import find_config, load_settings

MINIMAL = "source_system: demo\nmapping:\n  dialect: salesforce\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "pipeline.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_relative_places_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, MINIMAL + "exports: in\n"))
    assert settings.exports == tmp_path / "in"
    assert settings.lake == tmp_path / "lake"


def test_the_mapping_inherits_source_and_zone(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, MINIMAL + "time_zone: Europe/Berlin\n"))
    assert settings.mapping.source_system == "demo"
    assert settings.mapping.time_zone == "Europe/Berlin"


def test_the_environment_beats_the_file_and_code_beats_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, MINIMAL + "max_staleness_days: 3\n")
    monkeypatch.setenv("SALES_PIPELINE_MAX_STALENESS_DAYS", "5")
    monkeypatch.setenv("SALES_PIPELINE_ENGINE__THREADS", "1")
    assert load_settings(path).max_staleness_days == 5
    assert load_settings(path).engine.threads == 1
    assert load_settings(path, {"max_staleness_days": 9}).max_staleness_days == 9


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "max_staleness_days: soon\nunknown_word: 1\n")
    with pytest.raises(ConfigurationError) as raised:
        load_settings(path)
    assert "max_staleness_days" in str(raised.value)
    assert "unknown_word" in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(("text", "message"), [("a: [", "not readable YAML"), ("- 1\n", "not a mapping")])
def test_what_is_not_a_configuration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_settings(write(tmp_path, text))


def test_a_missing_configuration_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALES_PIPELINE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="sales-pipeline init"):
        find_config()
    with pytest.raises(ConfigurationError, match="not there"):
        find_config(tmp_path / "other.yaml")


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, MINIMAL + "alerts:\n  webhook_url: https://example.org/secret-token\n"))
    assert "secret-token" not in str(settings.model_dump(mode="json"))


def test_places_and_alerts_do_not_change_what_results_depend_on(tmp_path: Path) -> None:
    one = load_settings(write(tmp_path, MINIMAL))
    two = load_settings(write(tmp_path, MINIMAL + "lake: elsewhere\nmax_staleness_days: 30\n"))
    three = load_settings(write(tmp_path, MINIMAL + "  currency: EUR\n"))
    assert one.result_digest() == two.result_digest() != three.result_digest()


TARGETS = (
    MINIMAL + "delivery: {targets: {salesforce: {channel: {kind: salesforce, url: 'https://x', token_file: t}}}}\n"
)


def test_a_secret_comes_from_the_environment_and_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALES_PIPELINE_DELIVERY__TARGETS__SALESFORCE__CHANNEL__TOKEN", "hush")
    channel = load_settings(write(tmp_path, TARGETS)).delivery.targets["salesforce"].channel
    assert channel.kind == "salesforce"
    assert channel.token is not None
    assert channel.token.get_secret_value() == "hush"
    assert channel.token_file == tmp_path / "t"
    assert "hush" not in repr(channel) + channel.model_dump_json()


@pytest.mark.parametrize("delivery", ["", "delivery: {targets: {salesforce: {channel: {kind: salesforce}}}}\n"])
def test_a_secret_beside_a_wrong_channel_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    monkeypatch.setenv("SALES_PIPELINE_DELIVERY__TARGETS__SALESFORCE__CHANNEL__TOKEN", "hush")
    with pytest.raises(ConfigurationError, match=r"delivery\.targets\.salesforce\.channel") as caught:
        load_settings(write(tmp_path, MINIMAL + delivery))
    assert "hush" not in str(caught.value)


def test_a_secret_in_the_file_is_refused_without_being_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a secret stands in the configuration") as caught:
        load_settings(write(tmp_path, TARGETS.replace("token_file: t", "token: hush")))
    assert "hush" not in str(caught.value)
