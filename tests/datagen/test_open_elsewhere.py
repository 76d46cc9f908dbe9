"""A published set opens unchanged in other tools: datasets shows pictures, DuckDB counts and reads them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pytest
from PIL import Image

from datagen.datasets.shards import read_rows
from tests.conftest import CLASSES

LOAD = """
import json, sys
from datasets import load_dataset
files, cache = sys.argv[1:]
data = load_dataset("parquet", data_files={"train": files}, cache_dir=cache, split="train")
image = data[4]["image"]
print(json.dumps({
    "rows": len(data),
    "features": {name: type(feature).__name__ for name, feature in data.features.items()},
    "names": data.features["label"].names,
    "label": data.features["label"].int2str(data[4]["label"]),
    "picture": [type(image).__module__.split(".")[0], image.mode, image.size, list(image.getpixel((3, 5)))],
}))
"""


@pytest.fixture(scope="module")
def pictures(image_folders: Path) -> list[np.ndarray]:
    rows = [row for batch in read_rows(image_folders / "train") for row in batch.to_pylist()]
    return [np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows]


def test_hugging_face_datasets_shows_pictures_and_class_names(
    image_folders: Path, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    # In a process of its own: what keeps it from the network is read when it is imported.
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment = os.environ | offline | {"HF_HOME": str(tmp_path / "home")}
    files = str(image_folders / "train" / "*.parquet")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, files, str(tmp_path / "cache")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["rows"] == 48
    assert found["features"] == {
        "image": "Image",
        "label": "ClassLabel",
        "class_name": "Value",
        "index": "Value",
        "prompt": "Value",
        "seed": "Value",
    }
    assert (found["names"], found["label"]) == (list(CLASSES), "square")
    assert found["picture"] == ["PIL", "RGB", [32, 32], pictures[4][5, 3].tolist()]


def test_duckdb_counts_classes_and_reads_pictures(image_folders: Path, pictures: list[np.ndarray]) -> None:
    files = str(image_folders / "train" / "*.parquet")
    counting = "select class_name, label, count(*) from read_parquet(?) group by all order by label"
    reading = "select image.bytes, image.path from read_parquet(?) where class_name = 'cross' and \"index\" = 3"
    with duckdb.connect() as database:
        assert database.execute(counting, [files]).fetchall() == [
            (name, label, 16) for label, name in enumerate(CLASSES)
        ]
        ((data, path),) = database.execute(reading, [files]).fetchall()
    assert path == "cross/3.png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pictures[3 * 3 + 2])
