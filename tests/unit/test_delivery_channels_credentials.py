from pathlib import Path

import pytest
from pydantic import SecretStr

from sales_pipeline.delivery.channels.credentials import secret_of
from sales_pipeline.delivery.params import SalesforceChannel
from sales_pipeline.errors import ConfigurationError

CANARY = "canary-8d1f"


def channel(token: str | None = None, token_file: Path | None = None) -> SalesforceChannel:
    return SalesforceChannel(
        url="https://x.example", token=SecretStr(token) if token is not None else None, token_file=token_file
    )


def file_of(folder: Path, text: str = CANARY, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    assert secret_of(channel("from the environment", file_of(tmp_path))) == "from the environment"


def test_a_file_of_its_owner_is_read_without_the_line_end(tmp_path: Path) -> None:
    assert secret_of(channel(token_file=file_of(tmp_path, CANARY + "\r\n"))) == CANARY
    assert secret_of(channel(token_file=file_of(tmp_path, CANARY, 0o400))) == CANARY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_a_file_others_may_touch_is_refused_with_its_mode(tmp_path: Path, mode: int) -> None:
    path = file_of(tmp_path, mode=mode)
    with pytest.raises(ConfigurationError, match=f"(?s)others may read.*mode {mode:04o}.*chmod 600 {path}") as caught:
        secret_of(channel(token_file=path))
    assert CANARY not in str(caught.value)


def test_a_folder_a_link_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    with pytest.raises(ConfigurationError, match=r"(?s)not a regular file.*found: drwx"):
        secret_of(channel(token_file=folder))
    link = tmp_path / "link"
    link.symlink_to(file_of(tmp_path))
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        secret_of(channel(token_file=link))
    with pytest.raises(ConfigurationError, match=r"(?s)cannot be opened.*No such file"):
        secret_of(channel(token_file=tmp_path / "missing"))


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = file_of(tmp_path)
    owner = path.stat().st_uid
    monkeypatch.setattr("os.getuid", lambda: owner + 1)
    with pytest.raises(ConfigurationError, match=f"(?s)not a regular file of the user.*of user {owner}"):
        secret_of(channel(token_file=path))


def test_neither_names_the_variable() -> None:
    with pytest.raises(ConfigurationError, match="SALES_PIPELINE_DELIVERY__TARGETS__<NAME>__CHANNEL__TOKEN"):
        secret_of(channel())


def test_what_cannot_be_a_secret_is_refused_without_being_repeated(tmp_path: Path) -> None:
    for text, found in ((f"{CANARY}\nsecond", "control characters"), ("  \n", "nothing")):
        with pytest.raises(ConfigurationError, match=f"(?s)the secret cannot be one.*{found}") as caught:
            secret_of(channel(text))
        assert CANARY not in str(caught.value)
    (tmp_path / "token").write_bytes(b"\xff\xfe" + CANARY.encode())
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(ConfigurationError, match="the token_file is not text") as caught:
        secret_of(channel(token_file=tmp_path / "token"))
    assert CANARY not in str(caught.value)
