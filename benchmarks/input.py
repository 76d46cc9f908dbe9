"""Encoded images to normalized 224 px tensors, four ways in turns: PyTorch's ImageNet example, batches of 64.

    python -m benchmarks.input [--cores 2] [--images 512] [--rounds 3] [--out benchmarks/results/input.json]

(a) mindgap's input path; (b) torchvision's ImageFolder, (c) Hugging Face datasets, each with a DataLoader of one
persistent worker process a core; (d) Ray Data's `iter_torch_batches`. (b) to (d) decode and crop with Pillow, as their
documentation shows. A round is one epoch; processes are started before the first one counted.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.common.photographs import publish_photographs, write_image_folder
from benchmarks.common.rounds import rates, summary, table, use_cores, write
from datagen import pocket
from trainables.augmentations.apply import Augmenter
from trainables.input.data import epoch_batches, load_images
from trainables.input.pixel_statistics import IMAGENET

BATCH, SIZE = 64, 224
WAYS = {
    "mindgap": "(a) mindgap",
    "imagefolder": "(b) torchvision ImageFolder + DataLoader",
    "datasets": "(c) Hugging Face datasets + DataLoader",
    "ray": "(d) Ray Data `iter_torch_batches`",
}


@click.command()
@click.option("--cores", default=2, show_default=True)
@click.option("--images", default=512, show_default=True, help="Photographs to make.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--ways", default=",".join(WAYS), show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("benchmarks/results/input.json"), show_default=True
)
def main(cores: int, images: int, rounds: int, ways: str, out: Path) -> None:
    """Runs all ways in turns on photographs and on pocket images."""
    use_cores(cores)
    torch.set_num_threads(1)
    chosen = ways.split(",")
    if "ray" in chosen:
        import ray

        ray.init("local", num_cpus=cores, include_dashboard=False, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        publish_photographs(Path(folder) / "photographs", images)
        for kind, dataset in (("photographs", Path(folder) / "photographs"), ("pocket", pocket.IMAGES / "train")):
            files = Path(folder) / f"{kind}_files"
            write_image_folder(dataset, files)
            makers: dict[str, Callable[[], Callable[[], int]]] = {
                "mindgap": partial(mindgap, dataset),
                "imagefolder": partial(image_folder, files, cores),
                "datasets": partial(hugging_face, dataset, cores),
                "ray": partial(ray_data, dataset),
            }
            results[kind] = summary(rates({name: makers[name]() for name in chosen}, rounds), chosen[0])
    write(out, cores, ("torch", "torchvision", "datasets", "ray"), {"images": images, "rounds": rounds}, results)
    click.echo(table(f"{images} JPEGs of about 500 x 375", "images/s", results["photographs"], WAYS))
    click.echo(table("the pocket set, 32 x 32 PNG", "images/s", results["pocket"], WAYS))


def mindgap(dataset: Path) -> Callable[[], int]:
    """The path of the training loop."""
    images = load_images(dataset)
    spec: Any = SimpleNamespace(augmentation="pytorch_example", image_size=SIZE, minimum_crop=0.08, seed=0)
    views, epochs = Augmenter(spec, len(images), IMAGENET), itertools.count(1)

    def epoch() -> int:
        number = next(epochs)
        order = epoch_batches(torch.arange(len(images)), BATCH, 0, number)
        return sum(len(_checked(views(images.images[batch], batch, number)[0])) for batch in order)

    return epoch


def transform() -> v2.Transform:
    """PyTorch's ImageNet example on Pillow images."""
    to_tensor = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    crop = [v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip()]
    return v2.Compose([*crop, *to_tensor, v2.Normalize(list(IMAGENET.mean), list(IMAGENET.std))])


def image_folder(files: Path, cores: int) -> Callable[[], int]:
    """As in PyTorch's ImageNet example."""
    loader = _loader(ImageFolder(files, transform()), cores)
    return lambda: sum(len(_checked(images)) for images, _ in loader)


def hugging_face(dataset: Path, cores: int) -> Callable[[], int]:
    """As in the documentation of datasets, of the same Parquet files."""
    import datasets

    prepare = transform()
    files = sorted(map(str, dataset.glob("*.parquet")))
    with tempfile.TemporaryDirectory() as cache:
        loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache, keep_in_memory=True)

    def prepared(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"image": [prepare(image.convert("RGB")) for image in rows["image"]], "label": rows["label"]}

    loader = _loader(loaded.select_columns(["image", "label"]).with_transform(prepared), cores)
    return lambda: sum(len(_checked(batch["image"])) for batch in loader)


def ray_data(dataset: Path) -> Callable[[], int]:
    """A map over batches that decodes and crops, then torch batches, as in Ray Data's documentation."""
    import ray

    rows = ray.data.read_parquet(str(dataset), file_extensions=["parquet"]).select_columns(["image", "label"])
    prepared = rows.map_batches(_prepared, batch_size=BATCH)

    def epoch() -> int:
        batches = prepared.iter_torch_batches(batch_size=BATCH, local_shuffle_buffer_size=BATCH, drop_last=True)
        return sum(len(_checked(batch["image"])) for batch in batches)

    return epoch


def _prepared(rows: dict[str, Any]) -> dict[str, Any]:
    import io

    from PIL import Image

    torch.set_num_threads(1)
    prepare = transform()
    images = [prepare(Image.open(io.BytesIO(row["bytes"])).convert("RGB")).numpy() for row in rows["image"]]
    return {"image": np.stack(images), "label": rows["label"]}


def _loader(dataset: Any, cores: int) -> Any:
    return DataLoader(dataset, BATCH, shuffle=True, drop_last=True, num_workers=cores, persistent_workers=True)


def _checked(images: Tensor) -> Tensor:
    assert images.shape[1:] == (3, SIZE, SIZE)
    assert images.dtype == torch.float32
    return images


if __name__ == "__main__":
    main()
