"""What a trained project refuses: cutoffs that make no sense, names that nobody has, versions that were touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.world import VISITS, done, refused, visits, write_project

MODEL = ".tenure/versions/v1"
pytestmark = pytest.mark.timeout(600)  # the first test of a session trains two versions


def damage(path: Path) -> None:
    """Turn one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def test_scoring_before_the_data(service: Path) -> None:
    says = ["2019-05-01 lies before the data", "begins at 2024-01-01", "--as-of"]
    assert refused("score", "-c", service, "--as-of", "2019-05-01", says=says)["code"] == "history"
    assert not (service.parent / ".tenure/scores").exists()


def test_features_before_the_data(service: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.parquet"
    refused("features", "-c", service, "--as-of", "2019-05-01", "--out", out, says=["lies before the data"])
    assert not out.exists()


@pytest.mark.parametrize("verb", ["score", "features"])
def test_a_cutoff_in_the_future(service: Path, tmp_path: Path, verb: str) -> None:
    out = ["--out", tmp_path / "f.parquet"] if verb == "features" else []
    says = ["2999-01-01 lies in the future", "it is 2", "--as-of"]
    assert refused(verb, "-c", service, "--as-of", "2999-01-01", *out, says=says)["code"] == "history"
    assert not (tmp_path / "f.parquet").exists()


@pytest.mark.parametrize("verb", ["score", "features"])
def test_a_cutoff_at_which_nobody_is_at_risk(service: Path, tmp_path: Path, verb: str) -> None:
    out = tmp_path / "f.parquet"
    out.write_text("an earlier result")
    more = ["--out", out] if verb == "features" else []
    says = ["Nobody is at risk at 2025-06-01", "the log ends at 2024-07-29", "[churn] active"]
    refused(verb, "-c", service, "--as-of", "2025-06-01", *more, says=says)
    assert out.read_text() == "an earlier result"
    assert not (service.parent / ".tenure/scores").exists()


def test_labels_that_have_not_matured(service: Path, tmp_path: Path) -> None:
    says = ["2024-07-15", "mature at 2024-08-14", "the log ends at 2024-07-29"]
    refused("features", "-c", service, "--as-of", "2024-07-15", "--labels", "--out", tmp_path / "f.parquet", says=says)


def test_a_test_cutoff_that_has_not_matured(service: Path) -> None:
    says = ["2024-07-15", "matures 30d later", "The last cutoff that would do is 2024-06-29"]
    refused("check", "-c", service, "--set", 'churn.test=["2024-07-15"]', says=says)


def test_a_cutoff_that_is_no_time(service: Path) -> None:
    refused("score", "-c", service, "--as-of", "yesterday", says=["'yesterday'", "2026-01-31"])


def test_scoring_before_training(tmp_path: Path) -> None:
    config = write_project(tmp_path, VISITS, log_csv=visits(5))
    for arguments in (["score"], ["models", "show"], ["models", "promote", "v1"]):
        refused(*arguments, "-c", config, says=["nothing has been trained yet", "tenure train"])
    assert done("models", "list", "-c", config, "--json").document == {"versions": []}


def test_an_unknown_version(service: Path) -> None:
    refused("score", "-c", service, "--version", "v9", says=["'v9'", "champion", "v1, v2"])
    refused("models", "promote", "v9", "-c", service, says=["'v9'", "tenure models list"])


def test_an_alias_with_a_typo(service: Path) -> None:
    refused("score", "-c", service, "--version", "champoin", says=["'champoin'", "Did you mean 'champion'?"])
    refused("models", "rollback", "champoin", "-c", service, says=["'champoin'", "Did you mean 'champion'?"])


@pytest.mark.parametrize("alias", ["latest", "v7", "Prod!"])
def test_a_name_that_no_alias_can_have(service: Path, alias: str) -> None:
    refused("models", "promote", "v1", "--alias", alias, "-c", service, says=[repr(alias), "lower-case letters"])


@pytest.mark.parametrize("name", ["model.ubj", "encoder.json", "calibration.json", "golden.parquet", "manifest.json"])
def test_a_version_that_was_touched(service: Path, name: str) -> None:
    damage(service.parent / MODEL / name)
    says = [f"v1/{name}", "SHA-256"]
    for arguments in (["score"], ["models", "promote", "v1"], ["models", "show", "v1"]):
        assert refused(*arguments, "-c", service, says=says, code=3)["code"] == "artifact"
    assert not (service.parent / ".tenure/scores").exists()


def test_a_touched_version_does_not_keep_others_from_serving(service: Path) -> None:
    damage(service.parent / MODEL / "model.ubj")
    assert done("score", "-c", service, "--version", "v2", "--json").document["version"] == "v2"


def test_a_file_that_was_added_to_a_version(service: Path) -> None:
    (service.parent / MODEL / "extra.py").write_text("import os")
    refused("score", "-c", service, says=["extra.py"], code=3)
