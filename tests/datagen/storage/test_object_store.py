"""Addresses are taken as they are written, and a stumbling object store is outlasted."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from datagen.core.errors import InputError
from datagen.storage import object_store
from datagen.storage.lock import BucketLock, owned
from datagen.storage.object_store import Bucket, BucketError, ReplacedError
from tests.datagen.storage.faulty_server import FAULTS, FaultyServer, faulty_server


def keys(prefix: str) -> list[str]:
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    return [item["Key"] for item in client.list_objects_v2(Bucket="mindgap", Prefix=prefix).get("Contents", ())]


@pytest.mark.parametrize("folder", ["run#1", "a b", "a%20b", "50%", "a?x=1", "é", "a+b", "[v2]", "x/y", "q&a=1,2;3@4"])
def test_objects_lie_under_the_very_address(s3: str, folder: str) -> None:
    bucket = Bucket(f"{s3}/exact/{folder}/")
    bucket.write("part/key", b"1")
    assert f"exact/{folder}/part/key" in keys("exact/")
    assert bucket.read("part/key") == b"1"
    assert [item.key for item in bucket.list("part/")] == ["part/key"]


@pytest.mark.parametrize("address", ["s3://", "s3:///x", "s3://mindgap/a//b", "s3://mindgap/../x", "s3://mindgap/a\nb"])
def test_an_address_that_no_object_can_have_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="no address of objects"):
        Bucket(address)


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_either_variable_names_an_endpoint_without_tls(s3: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv(name, endpoint)
    Bucket(f"{s3}/endpoint").check()
    Bucket(f"{s3}/endpoint").write(name, b"1")


def test_the_endpoint_of_s3_alone_goes_before_the_one_of_all_services(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    Bucket(f"{s3}/endpoint").check()


@pytest.fixture
def stumbling(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    with faulty_server(os.environ["AWS_ENDPOINT_URL"], 0.2) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        yield server


def test_everything_goes_through_where_a_fifth_of_all_requests_fails(
    s3: str, stumbling: FaultyServer, tmp_path: Path
) -> None:
    bucket = Bucket(f"{s3}/{tmp_path.name}")
    bucket.check()
    (tmp_path / "large").write_bytes(os.urandom(300_000))
    for number in range(25):
        bucket.write(f"a/{number}", b"%d" % number)
        assert bucket.read(f"a/{number}") == b"%d" % number
        assert len(bucket.list("a/")) == number + 1
        bucket.upload(tmp_path / "large", "large")
        bucket.download("large", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()
    bucket.copy("large", "copy")
    assert bucket.sha256("copy") == bucket.sha256("large")
    bucket.remove([f"a/{number}" for number in range(25)])
    assert bucket.list("a/") == []
    assert all(stumbling.met[fault] for fault in FAULTS)


def test_whoever_gets_a_lock_whose_answer_was_lost_has_it(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty_server(os.environ["AWS_ENDPOINT_URL"], 0.5, ("lost",)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
        kept = BucketLock(Bucket(f"{s3}/{tmp_path.name}"))
        for _ in range(6):
            with owned(kept, "mine") as mine:
                assert kept.owner() == mine
            assert kept.owner() is None


def test_a_store_that_stays_away_is_told_and_given_up(
    s3: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(object_store, "PATIENCE_SECONDS", 2.0)
    monkeypatch.setattr(object_store, "TOLD_AFTER", 0.0)
    monkeypatch.setattr(object_store, "_last_told", -1000.0)
    with caplog.at_level(logging.WARNING), pytest.raises(BucketError):
        Bucket(f"{s3}/away").read("key")
    assert "s3://mindgap/away/key does not answer as it should" in caplog.text
    assert len(caplog.records) == 1  # Not at every attempt.


def test_what_another_has_written_is_no_fault_to_repeat(s3: str, tmp_path: Path) -> None:
    bucket = Bucket(f"{s3}/{tmp_path.name}")
    tag = bucket.create("key", b"1")
    with pytest.raises(ReplacedError):
        bucket.create("key", b"2")
    bucket.replace("key", b"3", tag)
    with pytest.raises(ReplacedError):
        bucket.replace("key", b"4", tag)
