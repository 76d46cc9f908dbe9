"""Small repositories for the stand-in hub: pictures that are drawn here, and the pocket's pipeline."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from datagen import pocket


def picture(label: int, number: int, size: tuple[int, int] = (48, 40)) -> bytes:
    """A JPEG of (width, height) pixels whose colour tells its class; another for each number."""
    noise = np.random.default_rng([label, number]).integers(0, 60, (size[1], size[0], 3))
    colour = np.array([[label * 25 % 255, 255 - label * 25 % 255, 128]])
    buffer = io.BytesIO()
    Image.fromarray((noise + colour).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def save_images(repository: Path, config: str, names: Sequence[str], counts: dict[str, int], files: int = 1) -> None:
    """A data set of the hub with so many images of each class in each split, as `datasets` writes them."""
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    (repository / config).mkdir(parents=True)
    for place, (split, count) in enumerate(counts.items()):
        labels = [label for _ in range(count) for label in range(len(names))]
        numbers = range(place * 10_000, place * 10_000 + len(labels))
        pairs = zip(labels, numbers, strict=True)
        images = [{"bytes": picture(label, number), "path": f"{number}.jpg"} for label, number in pairs]
        table = pa.table({"image": images, "label": pa.array(labels, pa.int64())}).replace_schema_metadata(told)
        bounds = [number * len(table) // files for number in range(files + 1)]
        for number, (first, last) in enumerate(pairwise(bounds)):
            part = table.slice(first, last - first)
            pq.write_table(part, repository / config / f"{split}-{number:05d}-of-{files:05d}.parquet", row_group_size=7)
    lines = [f"- config_name: {config}", "  data_files:"]
    lines += [f"  - split: {split}\n    path: {config}/{split}-*" for split in counts]
    (repository / "README.md").write_text("---\nlicense: apache-2.0\nconfigs:\n" + "\n".join(lines) + "\n---\n")


def save_pipeline(repository: Path) -> None:
    """The pocket's Stable Diffusion as a repository of the hub, with all that should not be fetched beside it."""
    shutil.copytree(pocket.GENERATOR, repository)
    weights = repository / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    for name in ("sd_turbo.safetensors", "unet/diffusion_pytorch_model.bin", "safety_checker/model.safetensors"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_bytes(b"not to be fetched" * 1000)
