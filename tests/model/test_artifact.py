"""A version that was written comes back as it was, and predicts what it predicted."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenure.core.errors import ArtifactError, InputError, NotFoundError
from tenure.core.time import EPOCH
from tenure.features.declare import FeatureSet
from tenure.model.artifact import LoadedVersion, load_version, without_passwords, write_version
from tenure.model.calibrate import Calibration
from tenure.model.evaluate import Estimate
from tenure.model.golden import TOLERANCE, split_golden
from tenure.model.manifest import GOLDEN, MANIFEST, REPORT, Cutoffs, Manifest
from tenure.model.protocol import Model
from tenure.model.seal import SealedFile
from tenure.model.verify import read_manifest, verify
from tests.model.versions import CHOICES, CLOCK, FEATURES, draft, forge, parts, table, write

FAMILIES = sorted(CHOICES)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """A version of each family: its folder and the hash of its manifest."""
    root = tmp_path_factory.mktemp("versions")
    return {family: (root / family, write(root / family, family)) for family in FAMILIES}


@pytest.fixture(scope="module")
def loaded(sealed: dict[str, tuple[Path, str]]) -> dict[str, LoadedVersion]:
    return {family: load_version(folder, checksum) for family, (folder, checksum) in sealed.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_loaded_version_predicts_bit_for_bit_what_training_did(loaded: dict[str, LoadedVersion], family: str) -> None:
    rows = table(2_000, seed=7)
    expected = parts(family).predict(rows)
    assert np.array_equal(loaded[family].predict(rows), expected)
    assert np.ptp(expected) > 0.1
    assert loaded[family].predict(rows.slice(0, 0)).shape == (0,)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_gets_the_same_probability_in_any_company(loaded: dict[str, LoadedVersion], family: str) -> None:
    rows = table(300, seed=8)
    alone = np.concatenate([loaded[family].predict(rows.slice(row, 1)) for row in range(0, 300, 50)])
    assert np.array_equal(alone, loaded[family].predict(rows)[::50])


def test_values_never_seen_and_other_columns_do_no_harm(loaded: dict[str, LoadedVersion]) -> None:
    rows = table(3, seed=9)
    strange = rows.set_column(3, "plan", pa.array(["new", None, "naïve"])).append_column("extra", pa.array([1, 2, 3]))
    shuffled = strange.select(list(reversed(strange.column_names)))
    assert np.array_equal(loaded["xgboost"].predict(shuffled), parts("xgboost").predict(strange))


def test_a_missing_column_is_named(loaded: dict[str, LoadedVersion]) -> None:
    with pytest.raises(NotFoundError, match="pay_amount_sum"):
        loaded["xgboost"].predict(table().drop_columns(["pay_amount_sum"]))


def test_a_loaded_version_says_what_it_is(loaded: dict[str, LoadedVersion]) -> None:
    version, made = loaded["xgboost"], draft("xgboost")
    manifest = version.manifest
    assert (version.name, manifest.family, manifest.created_at) == ("xgboost", "xgboost", CLOCK())
    assert version.features == FEATURES
    assert version.threshold == manifest.threshold == 0.25
    assert version.scorecard == made.scorecard
    assert manifest.metrics == made.scorecard[0].metrics
    assert manifest.metrics["roc_auc"].value > 0.8
    assert manifest.cutoffs == made.cutoffs
    assert manifest.fingerprint == "fingerprint"
    always = {"tenure", "python", "numpy", "xgboost", "pyarrow", "scikit-learn"}
    assert set(manifest.dependencies) == always


def test_the_base_rate_is_that_of_the_versions_own_judgement(loaded: dict[str, LoadedVersion]) -> None:
    version = loaded["xgboost"]
    own = version.scorecard[0]
    assert version.base_rate == own.positives / own.rows
    baseline = replace(own, kind="baseline", positives=own.rows)
    assert replace(version, scorecard=(baseline, own)).base_rate == version.base_rate
    assert replace(version, scorecard=(baseline,)).base_rate == 0.5


def test_the_folder_holds_exactly_the_documented_files(sealed: dict[str, tuple[Path, str]]) -> None:
    always = {MANIFEST, "encoder.json", "calibration.json", "usual.json", "evaluation.json", GOLDEN, REPORT}
    files = {family: {path.name for path in folder.iterdir()} for family, (folder, _) in sealed.items()}
    assert files == {"xgboost": always | {"model.ubj"}, "logistic": always | {"model.json"}}


def test_no_password_is_kept(sealed: dict[str, tuple[Path, str]]) -> None:
    folder, _ = sealed["xgboost"]
    assert "hush" in str(draft("xgboost").settings)
    assert not [path.name for path in folder.iterdir() if b"hush" in path.read_bytes()]
    assert b"ana:***@db/churn" in (folder / MANIFEST).read_bytes()


def test_golden_rows_hold_no_customer(sealed: dict[str, tuple[Path, str]]) -> None:
    features, expected = split_golden(pq.read_table(sealed["xgboost"][0] / GOLDEN))
    assert features.column_names == list(FEATURES.names)
    assert len(expected) == 200
    assert {None, "naïve"} <= set(features.column("plan").to_pylist())


def test_the_same_training_gives_the_same_bytes(sealed: dict[str, tuple[Path, str]], tmp_path: Path) -> None:
    for family, (folder, checksum) in sealed.items():
        assert write(tmp_path / family, family) == checksum
        for path in folder.iterdir():
            assert (tmp_path / family / path.name).read_bytes() == path.read_bytes()


def test_a_version_is_never_written_twice(tmp_path: Path) -> None:
    write(tmp_path / "v1", "logistic")
    before = (tmp_path / "v1" / MANIFEST).read_bytes()
    with pytest.raises(FileExistsError):
        write_version(tmp_path / "v1", replace(draft("logistic"), threshold=0.75), CLOCK)
    assert (tmp_path / "v1" / MANIFEST).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]


def test_a_version_without_report_and_threshold_loads(tmp_path: Path) -> None:
    checksum = write_version(tmp_path / "v1", replace(draft("logistic"), report="", threshold=None), CLOCK)
    version = load_version(tmp_path / "v1", checksum)
    assert version.threshold is None
    assert not (tmp_path / "v1" / REPORT).exists()


def test_a_threshold_that_nobody_reaches_is_kept(tmp_path: Path) -> None:
    checksum = write_version(tmp_path / "v1", replace(draft("logistic"), threshold=float("inf")), CLOCK)
    threshold = read_manifest(tmp_path / "v1", checksum).threshold
    assert threshold is not None
    assert threshold > 1


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    class Broken:
        """Writes a part of itself, then the disk is full."""

        def __init__(self, model: Model) -> None:
            self.predict_margin = model.predict_margin
            self.predict_proba = model.predict_proba
            self.contributions = model.contributions

        def save(self, folder: Path) -> tuple[str, ...]:
            (folder / "model.json").write_text("half")
            raise OSError(28, "No space left on device")

    made = draft("logistic")
    broken = replace(made, parts=replace(made.parts, model=Broken(made.parts.model)))
    with pytest.raises(OSError, match="No space left"):
        write_version(tmp_path / "v1", broken, CLOCK)
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    made = draft("logistic")
    scorecard = (replace(made.scorecard[0], metrics={"roc_auc": Estimate(float("nan"), 0.0, 1.0)}),)
    for bad in (replace(made, scorecard=scorecard), replace(made, threshold=float("nan"))):
        with pytest.raises(ArtifactError):
            write_version(tmp_path / "v1", bad, CLOCK)
    assert list(tmp_path.iterdir()) == []


def test_golden_rows_need_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no rows"):
        write_version(tmp_path / "v1", replace(draft("logistic"), sample=table().slice(0, 0)), CLOCK)


def test_numbers_that_are_no_probabilities_are_refused() -> None:
    wild = parts("logistic", Calibration("isotonic", given=(0.0, 1.0), found=(0.5, 1.5)))
    with pytest.raises(ArtifactError, match="no probability"):
        wild.predict(table())
    empty = parts("logistic", Calibration("isotonic", given=(0.0, 1.0), found=(float("nan"), 1.0)))
    with pytest.raises(ArtifactError, match="no probability"):
        empty.predict(table())


@pytest.mark.parametrize(("shift", "passes"), [(TOLERANCE / 2, True), (TOLERANCE * 2, False)])
def test_golden_rows_may_differ_by_the_tolerance(tmp_path: Path, shift: float, passes: bool) -> None:
    folder = tmp_path / "v1"
    write(folder, "logistic")
    golden = pq.read_table(folder / GOLDEN)
    moved = golden.column(golden.num_columns - 1).to_numpy().copy()
    moved[137] += shift
    pq.write_table(golden.set_column(golden.num_columns - 1, "expected_probability", pa.array(moved)), folder / GOLDEN)
    checksum = forge(folder)
    if passes:
        assert verify(folder, checksum).family == "logistic"
    else:
        with pytest.raises(ArtifactError, match="golden rows differ by up to 2e-06, allowed is 1e-06"):
            verify(folder, checksum)


def test_a_differing_version_names_the_libraries_that_changed(tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    write(folder, "logistic")
    golden = pq.read_table(folder / GOLDEN)
    (folder / GOLDEN).unlink()
    pq.write_table(golden.set_column(0, "login_count", pa.array(np.arange(200))), folder / GOLDEN)
    forge(folder)
    manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
    older = replace(manifest, dependencies=dict(manifest.dependencies) | {"xgboost": "0.90", "numpy": "1.0"})
    (folder / MANIFEST).write_bytes(older.to_json())
    with pytest.raises(ArtifactError, match=r"made with numpy 1\.0 \(here [\d.]+\), xgboost 0\.90 \(here [\d.]+\)"):
        load_version(folder)


instants = st.integers(0, 2**51).map(lambda microseconds: EPOCH + timedelta(microseconds=microseconds))
numbers = st.floats(allow_nan=False, allow_infinity=False)
blocks = st.lists(instants, max_size=3).map(tuple)
manifests = st.builds(
    Manifest,
    family=st.text(),
    created_at=instants,
    files=st.lists(st.builds(SealedFile, st.text(), st.integers(0), st.text()), max_size=3).map(tuple),
    features=st.sampled_from([FEATURES, FeatureSet()]),
    fingerprint=st.text(),
    cutoffs=st.builds(Cutoffs, blocks, blocks, blocks),
    threshold=st.none() | numbers,
    metrics=st.dictionaries(st.text(), st.builds(Estimate, numbers, numbers, numbers), max_size=3),
    dependencies=st.dictionaries(st.text(), st.text(), max_size=3),
    settings=st.dictionaries(st.text(), st.none() | numbers | st.text() | st.lists(st.text(), max_size=2), max_size=3),
    format_version=st.just(1),
)


@given(manifests)
def test_a_manifest_survives_the_way_there_and_back(manifest: Manifest) -> None:
    assert Manifest.from_json(manifest.to_json()) == manifest


@given(manifests, st.data())
def test_no_byte_of_a_manifest_can_change_unseen(manifest: Manifest, data: st.DataObject) -> None:
    content = bytearray(manifest.to_json())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]))
    with pytest.raises(ArtifactError):
        Manifest.from_json(bytes(content))


def test_the_returned_hash_is_the_manifests(sealed: dict[str, tuple[Path, str]]) -> None:
    for folder, checksum in sealed.values():
        assert hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest() == checksum


ADDRESSES = [
    "postgresql+psycopg://ana:{}@db:5432/churn",
    "postgresql://:{}@db",
    "redis://db?password={}",
    "postgresql://db/churn?sslmode=require&sslpassword={}&target=any",
    "host=db password={} dbname=churn",
]


@given(st.text("aZ0%!$*+,;=._~-/:", min_size=1), st.sampled_from(ADDRESSES))
def test_passwords_in_addresses_are_hidden_wherever_they_stand(password: str, address: str) -> None:
    kept = without_passwords({"a": [{"b": (address.format(password),)}], "n": 3, "none": None})
    assert kept == {"a": [{"b": [address.format("***")]}], "n": 3, "none": None}


@given(st.recursive(st.text("abc:/. ") | st.integers() | st.none(), st.lists, max_leaves=8))
def test_what_holds_no_address_is_left_alone(value: object) -> None:
    assert without_passwords(value) == value
