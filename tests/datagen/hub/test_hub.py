"""What the hub has is fetched once, by revision, and only what is needed; every refusal is one sentence."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from datagen.core.errors import InputError
from datagen.hub import downloading
from datagen.hub.downloading import Wanted, fetch_all
from datagen.hub.images import HubImages, find_images
from datagen.hub.models import NOTE, find_model, needed_files
from datagen.hub.repository import Reference, Repository, look, refusals_in_a_sentence
from datagen.recipes.class_lists import IMAGENETTE, OXFORD_PETS
from tests.conftest import ROOT
from tests.hub_repositories import save_images, save_pipeline
from tests.stand_in_hub import EXPORTED_SHA, SHA, StandInHub, stand_in_hub

WORDNET_IDS = [item.wordnet_id for item in reversed(IMAGENETTE)]
"""As a hub may have them: in an order that is not ours."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInHub]:
    root = tmp_path_factory.mktemp("hub")
    save_images(root / "datasets/frgfm/imagenette", "320px", WORDNET_IDS, {"train": 6, "validation": 2}, files=2)
    save_pipeline(root / "models/stabilityai/sd-turbo")
    with stand_in_hub(root) as served, pytest.MonkeyPatch.context() as patch:
        for name, value in served.settings.items():
            patch.setenv(name, value)
        yield served


@pytest.fixture(autouse=True)
def _working(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "hub" in request.fixturenames:
        served = request.getfixturevalue("hub")
        served.status.clear()
        served.cut.clear()


def by_command(hub: StandInHub, code: str) -> subprocess.CompletedProcess[str]:
    """Python that takes the stand-in for the hub from the start, as a user's process does."""
    environment = {**os.environ, **hub.settings, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=False)


def repository(*files: str) -> Repository:
    return Repository(Reference("a/b"), "model", SHA, "", dict.fromkeys(files, 1))


def test_of_a_pipeline_come_its_parts_in_one_precision_and_nothing_else() -> None:
    parts = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model")
    wanted = [f"{part}.fp16.safetensors" for part in parts]
    wanted += ["model_index.json", "tokenizer/merges.txt", "unet/config.json", "text_encoder/model.safetensors"]
    wanted += ["transformer/x.fp16-00001-of-00002.safetensors", "transformer/x.safetensors.index.fp16.json"]
    others = [f"{part}{end}" for part in parts for end in (".safetensors", ".bin", ".non_ema.safetensors", ".msgpack")]
    others += ["sd_turbo.safetensors", "README.md", "safety_checker/model.safetensors", "unet/openvino/x.json"]
    others += ["transformer/x-00001-of-00002.safetensors", "transformer/x.safetensors.index.json"]
    assert needed_files(repository(*wanted, *others)) == tuple(sorted(wanted))


def test_of_a_network_come_plain_weights_and_configuration() -> None:
    files = ("config.json", "model.safetensors", "pytorch_model.bin", "model.fp16.safetensors", "onnx/model.onnx")
    assert needed_files(repository(*files)) == ("config.json", "model.safetensors")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (("model_index.json", "unet/x.bin", "unet/config.json"), "only as unet/x.bin, which are pickled and never loa"),
        (("pytorch_model.bin", "config.json"), "only as pytorch_model.bin"),
        (("README.md",), "has no weights as .safetensors"),
    ],
)
def test_pickles_are_never_fetched(files: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        needed_files(repository(*files))


def test_a_fetched_folder_says_where_it_is_from_and_what_is_in_it(hub: StandInHub, tmp_path: Path) -> None:
    hub.cards["stabilityai/sd-turbo"] = {"license": "other", "license_name": "sai-nc-community"}
    model = find_model("stabilityai/sd-turbo", tmp_path / "models" / "sd-turbo")
    assert model.wanted.licence == "sai-nc-community"
    asked = hub.asked.copy()
    fetch_all([model], True, Console(quiet=True))
    note = json.loads((model.folder / NOTE).read_text())
    assert (note["hub"], note["revision"]) == ("stabilityai/sd-turbo", SHA)
    there = {path.relative_to(model.folder).as_posix() for path in model.folder.rglob("*") if path.is_file()}
    assert there - {NOTE} == set(model.files) == set(note["sha256"])
    assert not any("safety_checker" in path or path.endswith(".bin") for path in hub.asked - asked)
    before = hub.asked.total()
    model.fetch(Console(quiet=True))
    assert hub.asked.total() == before, "what is there is not asked for again"


def test_half_a_file_is_no_model_and_the_next_attempt_goes_on(hub: StandInHub, tmp_path: Path) -> None:
    model = find_model("stabilityai/sd-turbo", tmp_path / "sd-turbo")
    hub.cut["vae/diffusion"] = 99
    with pytest.raises(InputError, match="stabilityai/sd-turbo"):
        model.fetch(Console(quiet=True))
    assert not model.folder.exists()
    hub.cut.clear()
    asked = hub.asked.copy()
    model.fetch(Console(quiet=True))
    assert model.folder.is_dir()
    assert not [path for path in hub.asked - asked if "text_encoder/model" in path], "it was there already"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (403, r"accepted its licence. Accept it at .*, log in with `hf auth login` or set HF_TOKEN"),
        (404, r"does not have the model stabilityai/sd-turbo, or not for you: it was removed or renamed"),
        (429, r"asks to wait: too many requests"),
        (503, r"The hub has failed \(HTTP 503\). Later the same command goes on"),
    ],
)
def test_a_hub_that_refuses_is_one_sentence_that_says_what_to_do(hub: StandInHub, status: int, sentence: str) -> None:
    hub.status["sd-turbo"] = status
    with pytest.raises(InputError, match=sentence):
        find_model("stabilityai/sd-turbo")


def test_a_name_and_a_revision_that_are_none_are_told(hub: StandInHub) -> None:
    with pytest.raises(InputError, match="no revision 'old' of stabilityai/sd-turbo"):
        look(Reference.parse("stabilityai/sd-turbo@old"), "model")
    with pytest.raises(InputError, match="OWNER/NAME or OWNER/NAME@REVISION"):
        Reference.parse("sd-turbo")


def test_nothing_is_fetched_without_agreement_or_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Asked:
        wanted = Wanted("model", "a/b", 2_000_000_000, "mit", Path("models/b"))

        def fetch(self, console: Console) -> None:
            raise AssertionError

    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(InputError, match=r"Nothing was fetched\. Give --yes to fetch it"):
        fetch_all([Asked()], False, Console())
    assert "a/b 2.00 GB mit models/b" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(InputError, match=r"takes 9,000,000.00 GB, but .* Free space; the same command goes on"):
        downloading.check_room(tmp_path, 9 * 10**15, "It")


def test_a_disk_that_is_full_in_the_middle_is_one_sentence() -> None:
    reference = Reference.parse("a/b")
    with pytest.raises(InputError, match=r"The disk is full, so the model a/b is not whole\. Free space; the same"):
        with refusals_in_a_sentence(reference, "model"):
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError as error:
                raise RuntimeError("a library's own words") from error


def rows_of(folder: Path) -> list[tuple[str, bytes]]:
    tables = [pq.read_table(file) for file in sorted(folder.glob("*.parquet"))]
    return [(row["label"], row["image"]) for table in tables for row in table.to_pylist()]


def found(hub: StandInHub) -> HubImages:
    return find_images(Reference.parse("frgfm/imagenette"), "320px")


def test_images_come_with_their_classes_by_name_and_their_licence(hub: StandInHub, tmp_path: Path) -> None:
    hub.cards["frgfm/imagenette"] = {"license": "apache-2.0"}
    done = by_command(
        hub,
        f"""
from pathlib import Path
from rich.console import Console
from datagen.hub.images import *
images = find_images(Reference.parse("frgfm/imagenette"), "320px")
stream_images(images, Path({str(tmp_path)!r}), Console(quiet=True))
print(images.origin, images.splits, images.bytes)
""",
    )
    assert "'licence': 'apache-2.0'" in done.stdout and f"'revision': '{SHA}'" in done.stdout, done.stderr
    (place,) = tmp_path.iterdir()
    train, validation = rows_of(place / "train"), rows_of(place / "validation")
    assert Counter(label for label, _ in train) == dict.fromkeys(WORDNET_IDS, 6)
    assert len(validation) == 2 * 10
    assert len({image for _, image in [*train, *validation]}) == 80


def test_a_broken_stream_goes_on_where_it_stopped(hub: StandInHub, tmp_path: Path) -> None:
    code = """
from pathlib import Path
from rich.console import Console
import datagen.hub.images as streaming
streaming.ROWS_AT_ONCE, streaming.RETRIES, streaming.PAUSE = 7, 1, 0.01
images = streaming.find_images(streaming.Reference.parse("frgfm/imagenette"), "320px")
streaming.stream_images(images, Path({place!r}), Console(quiet=True))
"""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert by_command(hub, code.format(place=str(whole))).returncode == 0
    hub.status["train-00001"] = 403
    failed = by_command(hub, code.format(place=str(broken)))
    assert "InputError: The hub gives the data set frgfm/imagenette only to who" in failed.stderr
    kept = {file.name: file.stat().st_mtime_ns for file in broken.rglob("part-*.parquet")}
    assert kept
    hub.status.clear()
    assert by_command(hub, code.format(place=str(broken))).returncode == 0
    for split in ("train", "validation"):
        (one,), (other,) = (list(place.glob(f"*/{split}")) for place in (whole, broken))
        assert rows_of(one) == rows_of(other)
    again = {file.name: file.stat().st_mtime_ns for file in broken.glob("*/train/part-*.parquet")}
    assert all(again[name] == changed for name, changed in kept.items()), "what had come was kept"


def test_of_a_set_that_is_a_script_the_hubs_own_files_are_read_and_the_script_never_run(
    hub: StandInHub, tmp_path: Path
) -> None:
    script = hub.root / "datasets/owner/scripted"
    script.mkdir(parents=True)
    (script / "scripted.py").write_text("raise SystemExit('this was run')")
    save_images(tmp_path / "made", "320px", WORDNET_IDS, {"train": 2, "validation": 1})
    for split in ("train", "validation"):
        place = hub.root / "exports/owner/scripted/320px" / split
        place.mkdir(parents=True)
        next((tmp_path / "made/320px").glob(f"{split}-*")).rename(place / "0000.parquet")
    hub.cards["owner/scripted"] = {"license": "mit"}
    done = by_command(
        hub,
        f"""
from pathlib import Path
from rich.console import Console
from datagen.hub.images import *
images = find_images(Reference.parse("owner/scripted"), "320px")
stream_images(images, Path({str(tmp_path / "out")!r}), Console(quiet=True))
print(images.origin, images.bytes > 0)
""",
    )
    assert f"'revision': '{EXPORTED_SHA}', 'licence': 'mit'}} True" in done.stdout, done.stderr
    (place,) = (tmp_path / "out").iterdir()
    assert Counter(label for label, _ in rows_of(place / "train")) == dict.fromkeys(WORDNET_IDS, 2)
    assert len(rows_of(place / "validation")) == 10


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"config": "160px"}, "has other configurations than 160px"),
        ({"splits": {"train": "test"}}, "has no split 'test'. It has: train, validation"),
        ({"image": "photo"}, "has no column 'photo' of images. It has: image"),
        ({"label": "breed"}, "has no column 'breed' of labels. It has: label"),
    ],
)
def test_what_a_set_of_the_hub_does_not_have_is_told(
    hub: StandInHub, options: dict[str, object], sentence: str
) -> None:
    arguments = {"config": "320px", **options}
    code = f"""
from datagen.hub.images import *
try:
    find_images(Reference.parse("frgfm/imagenette"), **{arguments!r})
except InputError as error:
    print(error)
"""
    assert sentence in by_command(hub, code).stdout


def test_offline_it_is_said_what_to_put_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE is set.*\(hf download a/b --repo-type dataset .*--train DIR"):
        find_images(Reference.parse("a/b"))


def test_the_hubs_pets_are_ours() -> None:
    """As timm/oxford-iiit-pet spells them: small letters and underscores."""
    from datagen.recipes.class_lists import named_folders

    spelled = {item.folder.lower(): item.folder for item in OXFORD_PETS}
    assert named_folders(list(spelled), OXFORD_PETS) == spelled
