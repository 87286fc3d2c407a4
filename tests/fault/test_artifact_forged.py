"""A forger wrote files and manifest together, or they come from elsewhere; they are refused and nothing crashes."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from tenure.core.errors import ArtifactError
from tenure.model import sandbox
from tenure.model import verify as verification
from tenure.model.artifact import load_version
from tenure.model.document import canonical
from tenure.model.manifest import GOLDEN
from tenure.model.sandbox import Limits
from tenure.model.verify import verify
from tests.model.versions import forge, parts, refusal, registered, table

# Files that a forger wrote together with the manifest: the registry refuses them; a folder that vouches for itself gets
# as far as the throw-away process.


def refused_by_process(version: Path, pristine: Path) -> str:
    forge(version)
    assert "was registered" in refusal(version, registered(pristine))
    return refusal(version)


def model_document() -> Any:
    booster = parts("xgboost").model.booster  # type: ignore[attr-defined]
    return json.loads(booster.save_raw("json"))


def as_ubj(document: Any) -> bytes:
    """The document in UBJSON, as XGBoost itself writes it, without letting XGBoost read it first."""
    out = io.BytesIO()
    put_ubj(out, document)
    return out.getvalue()


def put_ubj(out: io.BytesIO, value: Any) -> None:
    if isinstance(value, dict):
        out.write(b"{")
        for key, item in value.items():
            put_text(out, key)
            put_ubj(out, item)
        out.write(b"}")
    elif isinstance(value, list):
        out.write(b"[#L" + len(value).to_bytes(8, "big"))
        for item in value:
            put_ubj(out, item)
    elif isinstance(value, str):
        out.write(b"S")
        put_text(out, value)
    elif isinstance(value, float):
        out.write(b"d" + np.array(value, ">f4").tobytes())
    else:
        out.write(b"L" + int(value).to_bytes(8, "big", signed=True))


def put_text(out: io.BytesIO, text: str) -> None:
    data = text.encode()
    out.write(b"L" + len(data).to_bytes(8, "big") + data)


def trees(document: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["learner"]["gradient_booster"]["model"]["trees"]
    return found


def lead_outside(document: Any) -> None:
    trees(document)[0]["left_children"][0] = 2_000_000_000


def split_on_a_column_that_is_not_there(document: Any) -> None:
    trees(document)[0]["split_indices"][0] = 2_000_000_000


def run_in_a_circle(document: Any) -> None:
    trees(document)[0]["left_children"][0] = trees(document)[0]["right_children"][0] = 0


def claim_a_billion_nodes(document: Any) -> None:
    trees(document)[0]["tree_param"]["num_nodes"] = "2000000000"


def lose_a_tree(document: Any) -> None:
    model = document["learner"]["gradient_booster"]["model"]
    model["trees"].pop()
    model["tree_info"].pop()
    model["iteration_indptr"][-1] -= 1
    model["gbtree_model_param"]["num_trees"] = str(len(model["trees"]))


def move_a_leaf(document: Any) -> None:
    trees(document)[0]["split_conditions"] = [value + 0.25 for value in trees(document)[0]["split_conditions"]]


def test_the_model_can_be_rewritten_without_a_change(version: Path) -> None:
    """The forgeries below differ from a good file in what they say, not in how it is written."""
    (version / "model.ubj").write_bytes(as_ubj(model_document()))
    forge(version)
    assert np.array_equal(load_version(version).predict(table()), parts("xgboost").predict(table()))


CRASHED = "crashed the process that tried, with SIG"
DIFFER = "golden rows differ by up to 0."


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lead_outside, CRASHED),
        (split_on_a_column_that_is_not_there, CRASHED),
        (run_in_a_circle, CRASHED),
        (claim_a_billion_nodes, "Check failed: loss_changes.size() == n_nodes"),
        (lose_a_tree, DIFFER),
        (move_a_leaf, DIFFER),
    ],
)
def test_a_forged_model_is_refused_and_this_process_lives(
    version: Path, pristine: Path, change: Callable[[Any], None], reason: str
) -> None:
    document = model_document()
    change(document)
    (version / "model.ubj").write_bytes(as_ubj(document))
    assert reason in refused_by_process(version, pristine)


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../evil.py", "print('hello')")
    return out.getvalue()


def pickled(marker: Path) -> bytes:
    """What unpickles into a call of `os.mkdir`; written by hand, for nothing here knows the format."""
    return b"cposix\nmkdir\n(V" + str(marker).encode() + b"\ntR."


@pytest.mark.parametrize("kind", ["random", "empty", "zip", "pickle", "other model", "half", "deep"])
def test_a_foreign_model_file_is_refused_and_this_process_lives(version: Path, pristine: Path, kind: str) -> None:
    marker = version.parent / "marker"
    model = version / "model.ubj"
    model.write_bytes({
        "random": np.random.default_rng(0).bytes(20_000),
        "empty": b"",
        "zip": zipped(),
        "pickle": pickled(marker),
        "other model": bytes(other_booster().save_raw("ubj")),
        "half": model.read_bytes()[: model.stat().st_size // 2],
        "deep": b"{L" + (1).to_bytes(8, "big") + b"a" + b"[" * 3_000_000,
    }[kind])  # fmt: skip
    message = refused_by_process(version, pristine)
    assert message.startswith("v1 cannot be used: ")
    assert "tmp" not in message
    assert "Stack trace" not in message
    assert not marker.exists()


def other_booster() -> xgb.Booster:
    random = np.random.default_rng(0)
    data = xgb.DMatrix(random.normal(size=(50, 2)), random.random(50) < 0.5)
    return xgb.train({"objective": "binary:logistic", "nthread": 1}, data, 2)


@pytest.mark.slow
@settings(max_examples=10)
@given(data=st.data())
def test_random_damage_to_a_model_with_a_forged_manifest_never_ends_this_process(
    pristine: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """It may even load, when the damage touches nothing that the golden rows show; then it predicts what they say."""
    folder = tmp_path_factory.mktemp("forged") / "v1"
    shutil.copytree(pristine, folder)
    content = bytearray((folder / "model.ubj").read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    (folder / "model.ubj").write_bytes(content)
    forge(folder)
    try:
        version = load_version(folder)
    except ArtifactError as error:
        assert "v1" in error.message  # noqa: PT017 - both outcomes are right, each with its own promise
    else:
        golden = pq.read_table(folder / GOLDEN)
        assert np.abs(version.predict(golden) - golden.column("expected_probability").to_numpy()).max() <= 1e-6
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("encoder.json", b"{}", "encoder.json has no columns, dropped"),
        ("encoder.json", b'{"columns": [], "dropped": []}', "v1 cannot be used"),
        ("calibration.json", b'{"method": "evil"}', "calibration.json"),
        ("usual.json", b'{"columns": "evil"}', "usual.json: columns"),
        ("evaluation.json", b'{"scorecard": [{}]}', "evaluation.json: scorecard[0] has no"),
        (GOLDEN, b"PAR1 no parquet", "ArrowInvalid: Could not open Parquet input source 'golden.parquet'"),
    ],
)
def test_a_forged_document_is_refused_with_the_reason(
    version: Path, pristine: Path, file: str, content: bytes, reason: str
) -> None:
    (version / file).write_bytes(content)
    assert reason in refused_by_process(version, pristine)


def test_golden_rows_that_say_nothing_are_refused(version: Path, pristine: Path) -> None:
    golden = pq.read_table(version / GOLDEN)
    pq.write_table(golden.slice(0, 0), version / GOLDEN)
    assert "golden rows differ by up to inf" in refused_by_process(version, pristine)
    last = golden.num_columns - 1
    unknown = pa.nulls(golden.num_rows, pa.float64())
    pq.write_table(golden.set_column(last, "expected_probability", unknown), version / GOLDEN)
    assert "golden rows differ by up to inf" in refused_by_process(version, pristine)


def test_parts_of_another_version_are_refused(version: Path, pristine: Path) -> None:
    encoder = json.loads((version / "encoder.json").read_bytes())
    shop = next(column for column in encoder["columns"] if column["name"] == "shop")
    shop["categories"] = shop["categories"][::-1]
    (version / "encoder.json").write_bytes(canonical(encoder))
    assert "golden rows differ by up to" in refused_by_process(version, pristine)


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("xgbost", "The model family 'xgbost' is foreign. Did you mean 'xgboost'?"),
        (
            "zzz",
            "The model family 'zzz' is foreign. Known: catboost, chain, ensemble, forest, lightgbm, logistic, neural",
        ),
        ("logistic", "v1 cannot be used"),
    ],
)
def test_a_foreign_family_is_named(version: Path, family: str, reason: str) -> None:
    forge(version, family)
    assert reason in refusal(version)


# What happens around the check.


def test_what_is_parsed_is_what_was_verified(version: Path, pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody changes the folder right after it was verified: the version is the verified one all the same."""
    rehearse = sandbox.rehearse

    def meanwhile(folder: Path, name: str, limits: Limits | None) -> float:
        for file in ("model.ubj", "encoder.json", "calibration.json", GOLDEN):
            (version / file).write_bytes(b"changed")
        return rehearse(folder, name, limits)

    monkeypatch.setattr(verification, "rehearse", meanwhile)
    loaded = load_version(version, registered(pristine))
    assert np.array_equal(loaded.predict(table()), parts("xgboost").predict(table()))


def test_nothing_is_left_behind(version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    verify(version)
    assert list(scratch.iterdir()) == []
    (version / "model.ubj").write_bytes(b"")
    forge(version)
    refusal(version)
    assert list(scratch.iterdir()) == []
