"""`fit`: any flat table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sales_pipeline.errors import ConfigurationError, InputRejected
from sales_pipeline.models.flat import FlatFit, fit_flat
from sales_pipeline.models.flat_table import read_flat
from sales_pipeline.models.params import TrainingParams
from sales_pipeline.models.store import NullRecorder

QUICK = TrainingParams(boosting_rounds=20, nystroem_components=30)


def _fit(path: Path, target: str, params: TrainingParams = QUICK, **options) -> FlatFit:
    return fit_flat(path, target=target, params=params, recorder=NullRecorder(), **options)


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame({"advertising": random.uniform(0, 100, n), "price": random.normal(size=n)})
    frame["region"] = random.choice(["North", "South", "None"], n)
    frame["day"] = pd.date_range("2026-01-01", periods=n).astype(str)
    frame["target"] = 3 * frame["advertising"] + 10 * frame["price"] + 5 * random.normal(size=n)
    path = tmp_path_factory.mktemp("flat") / "sales_data.csv"
    frame.to_csv(path, index=False)
    return path


def test_the_textbook_case(sales: Path) -> None:
    found = _fit(sales, "TARGET", never_use=["day"])
    figures = {result.family: result.figures for result in found.results}
    assert found.task == "regress"
    assert found.target == "target"
    assert figures["linear_regression"]["mse"] == pytest.approx(25, rel=0.25)
    assert figures["linear_regression"]["mse"] < figures["decision_tree"]["mse"] < figures["median"]["mse"]
    assert {"linear_regression", "decision_tree", "svr_linear", "svr_rbf", "gradient_boosting"} <= set(figures)
    assert "RANDOM" in found.statements[0]


def test_a_perfect_line_is_fitted_and_said_to_be_too_good(tmp_path: Path) -> None:
    path = tmp_path / "sales_data.csv"
    path.write_text("x,target\n" + "".join(f"{i},{2 * i + 1}\n" for i in range(60)), encoding="utf-8")
    found = _fit(path, "target")
    figures = {result.family: result.figures for result in found.results}
    assert figures["linear_regression"]["mse"] == pytest.approx(0, abs=1e-9)
    assert any("leaves no column" in statement for statement in found.statements)


def test_a_time_column_orders_the_rows(sales: Path) -> None:
    found = _fit(
        sales, "target", QUICK.model_copy(update={"amount_families": ("linear_regression",)}), time_column="day"
    )
    assert found.is_time_ordered
    assert found.statements == ()
    assert found.results[0].figures["rows"] == 40


def test_classification_names_its_positive_class_and_sets_suspects_apart(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    n = 400
    x = random.normal(size=n)
    won = random.uniform(size=n) < 1 / (1 + np.exp(-2 * x))
    days = np.where(won, 40, 60) + random.normal(size=n) * 25
    frame = pd.DataFrame({"fit": x, "Elapsed Days In Stage": days, "Result": np.where(won, "Won", "Loss")})
    path = tmp_path / "deals.tsv"
    frame.to_csv(path, index=False, sep="\t")
    found = _fit(path, "Result")
    assert found.positive == "Won"
    by = {(result.columns, result.family): result.figures for result in found.results}
    assert {columns for columns, _ in by} == {"without suspects", "with suspects"}
    assert by["without suspects", "logistic_regression"]["auc"] > 0.75
    assert by["with suspects", "logistic_regression"]["auc"] > by["without suspects", "logistic_regression"]["auc"]
    assert {family for _, family in by} == {
        "base_rate",
        "frequency_naive_bayes",
        "logistic_regression",
        "decision_tree",
        "linear_svm",
        "rbf_svm",
        "gradient_boosting",
    }
    assert any("Elapsed Days" in statement for statement in found.statements)


def test_missing_is_what_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b,c\n1,None,x\n,Select,NA\n2,y,\n", encoding="utf-8")
    frame = read_flat(path)
    assert frame["a"].dtype == np.float64
    assert frame["a"].isna().tolist() == [False, True, False]
    assert frame["b"].tolist() == ["None", None, "y"]
    assert frame["c"].tolist() == ["x", "NA", None]


def test_parquet_and_excel_read_like_csv(sales: Path, tmp_path: Path) -> None:
    frame = read_flat(sales)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_excel(tmp_path / "a.xlsx", index=False)
    for name in ("a.parquet", "a.xlsx"):
        pd.testing.assert_frame_equal(read_flat(tmp_path / name), frame, check_dtype=False)


@pytest.mark.parametrize(
    ("content", "target", "error", "message"),
    [
        ("a,b\n1,2\n", "z", ConfigurationError, "no such column"),
        ("a,b\n", "a", InputRejected, "no records"),
        ("", "a", InputRejected, "cannot be read"),
        ("a,a\n1,2\n", "a", InputRejected, "too few|same name"),
        ("a,b\n1,2\n1,2,3\n", "a", InputRejected, "cannot be read|too few"),
        ("a,b\n" + "1,x\n2,y\n3,z\n" * 10, "b", ConfigurationError, "cannot be classified"),
        ("a,b\n1,2\n3,4\n", "a", InputRejected, "too few"),
        ("a,b\n1,\x002\n3,4\n", "a", InputRejected, "NUL"),
    ],
)
def test_what_cannot_be_used_is_said(
    tmp_path: Path, content: str, target: str, error: type[Exception], message: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(error, match=message):
        _fit(path, target)


def test_a_missing_file_and_an_unknown_kind_are_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        _fit(tmp_path / "none.csv", "a")
    (tmp_path / "a.pdf").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="unknown kind"):
        _fit(tmp_path / "a.pdf", "a")
