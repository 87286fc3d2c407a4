"""`tenure keys`: made and shown once, listed without secrets, taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenure.app.place import Place
from tenure.serve.keys import KeyRing, load_keys
from tests.cli.world import VISITS, done, refused, tenure, write_project


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_project(tmp_path, VISITS)


def ring_of(config: Path) -> KeyRing:
    engine = Place.load(config).database()
    return KeyRing(lambda: load_keys(engine))


def test_a_key_is_shown_once(config: Path) -> None:
    made = done("keys", "create", "crm [x]", "--role", "score", "--role", "events", "--rate", 5, "--config", config)
    *said, token = made.out.splitlines()
    key = ring_of(config).find(token)
    assert key is not None
    assert (key.name, sorted(key.roles), key.rate) == ("crm [x]", ["events", "score"], 5)
    assert "crm [x]" in said[0]
    listed = done("keys", "list", "--config", config).out
    assert key.id in listed
    assert token[20:] not in listed


def test_keys_are_listed_and_revoked_as_documents(config: Path) -> None:
    assert done("keys", "list", "--config", config, "--json").document == {"keys": []}
    made = done("keys", "create", "crm", "--role", "admin", "--config", config, "--json").document
    (listed,) = done("keys", "list", "--config", config, "--json").document["keys"]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert listed["roles"] == ["admin"]
    revoked = done("keys", "revoke", made["id"], "--config", config, "--json").document
    assert revoked == {**listed, "revoked_at": revoked["revoked_at"]}
    assert revoked["revoked_at"] >= made["created_at"]
    assert ring_of(config).find(made["key"]) is None


def test_without_keys_the_list_says_what_that_means(config: Path) -> None:
    assert "only this machine" in done("keys", "list", "--config", config).out


def test_what_makes_no_sense_is_refused(config: Path) -> None:
    made = done("keys", "create", "crm", "--role", "score", "--config", config, "--json").document
    refused("keys", "create", "crm", "--role", "scores", "--config", config, says=["'scores'", "'score'"])
    refused("keys", "create", "crm", "--role", "score", "--rate", 0, "--config", config, says=["0 requests"])
    refused("keys", "create", "", "--role", "score", "--config", config, says=["name"])
    refused("keys", "revoke", made["id"][:-1], "--config", config, says=[made["id"]])
    refused("keys", "list", "--config", config.parent / "gone.toml", says=["gone.toml"])
    assert tenure("keys", "create", "crm", "--config", config).code == 2
