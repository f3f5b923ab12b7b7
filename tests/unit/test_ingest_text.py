"""The ladder of encodings, and what becomes of line ends."""

import codecs
from pathlib import Path

import pytest

from sales_pipeline.errors import ConfigurationError, InputRejected
from sales_pipeline.ingest import text
from sales_pipeline.ingest.text import Encoding, settle_encoding, write_text

TEXT = "Id,Name\n1,Müller & Söhne\n2,客户有限公司\n"


def settle(path: Path, data: bytes, configured: str | None = None) -> Encoding:
    path.write_bytes(data)
    return settle_encoding(path, configured, label="file.csv")


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (codecs.BOM_UTF16_BE, "utf-32-be"),
        (codecs.BOM_UTF16_BE, "utf-32-le"),
    ],
)
def test_a_byte_order_mark_settles_it(tmp_path: Path, mark: bytes, name: str) -> None:
    path = tmp_path / "file.csv"
    encoding = settle(path, mark + TEXT.encode(name))
    assert (encoding.name, encoding.skip) == (name, len(mark))
    assert write_text(path, tmp_path / "out", encoding).read_text(encoding="utf-8") == TEXT


def test_utf8_comes_before_what_is_configured(tmp_path: Path) -> None:
    assert settle(tmp_path / "f.csv", TEXT.encode(), "cp1252").name == "utf-8"


def test_the_configured_encoding_comes_before_gb18030(tmp_path: Path) -> None:
    assert settle(tmp_path / "f.csv", "1,Müller\n".encode("cp1252"), "cp1252").basis == "configured"


def test_chinese_is_read_as_gb18030(tmp_path: Path) -> None:
    assert settle(tmp_path / "f.csv", "编号,名称\n1,有限公司\n".encode("gb18030")).name == "gb18030"


def test_western_text_is_never_taken_for_chinese(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match=r"(?s)encoding is not known.*line 3.*mapping.encoding"):
        settle(tmp_path / "f.csv", "Id,Name\n1,plain\n2,Müller und Söhne\n".encode("cp1252"))


@pytest.mark.parametrize("text", ["Größe", "Müller", "été à Liège", "ÖSTERREICH"])
def test_accents_are_not_chinese(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputRejected):
        settle(tmp_path / "f.csv", f"Id,Name\n1,{text}\n".encode("cp1252"))


def test_mixed_encodings_name_the_line(tmp_path: Path) -> None:
    data = "1,Größe\n".encode() * 3 + "2,Müller\n".encode("cp1252")
    with pytest.raises(InputRejected, match=r"(?s)mixes encodings.*line 4"):
        settle(tmp_path / "f.csv", data)


def test_bytes_that_do_not_fit_their_mark_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="byte order mark"):
        settle(tmp_path / "f.csv", codecs.BOM_UTF8 + b"a,\xff\n")


def test_an_unknown_configured_encoding_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="latin-99"):
        settle(tmp_path / "f.csv", b"a,\xff\n", "latin-99")


def test_line_ends_become_one(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    encoding = settle(path, b"a\r\nb\rc\nd")
    assert write_text(path, tmp_path / "out", encoding).read_bytes() == b"a\nb\nc\nd\n"


def test_a_file_that_is_ready_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    assert write_text(path, tmp_path / "out", settle(path, b"a\nb\n")) == path


@pytest.mark.parametrize("block", [3, 1 << 16])
@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("plain\ngrößer\n客户 without a line end".encode(), None),
        (b"", None),
        (b"surrogate\n\xed\xa0\x80\n", 10),
        (b"overlong \xc0\x80\n", 9),
        (b"cut short \xe5\xae", 10),
        (b"latin gr\xf6\xdfer\nmore\n", 8),
    ],
)
def test_the_first_byte_that_is_no_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, fault: int | None, block: int
) -> None:
    monkeypatch.setattr(text, "_BLOCK", block)
    (tmp_path / "f").write_bytes(data)
    assert text._first_fault(tmp_path / "f", Encoding("utf-8", "strict")) == fault
