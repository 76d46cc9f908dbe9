"""Evaluates a model of a store without mindgap: python evaluate_weights.py STORE/models/FINGERPRINT FOLDER_OF_THE_SET.

The set is the one that `evaluation` in the model's model.json names. Needs timm, torch, torchvision, safetensors and
pyarrow; prints the top-1 of the last epoch, to the digit on a device of the same kind.
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet
import timm
import torch
from safetensors.torch import load_file
from torch.nn.functional import linear, normalize
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2


class Cosine(torch.nn.Linear):
    """The papers' classifier: cosines of features and class weights over a temperature."""

    def forward(self, features):
        """[batch, features] to logits [batch, classes]."""
        return linear(normalize(features), normalize(self.weight)) / self.temperature


def load_network(folder, described):
    """The network of a sidecar's `network`, with its weights."""
    arguments = described["arguments"] if "source" in described else dict(described["arguments"])
    if described["made_by"] == "timm.create_model":
        network = timm.create_model(**arguments)
    elif "source" in described:
        defined = {}
        exec(described["source"], defined)  # The user's own file: run only what you trust.
        made = defined[described["made_by"]](*described["arguments"])
        network = made[0] if isinstance(made, tuple) else made
    else:
        network = timm.models.resnet.ResNet(getattr(timm.models.resnet, arguments.pop("block")), **arguments)
    for name, convolution in described.get("replaced_by_conv2d", {}).items():
        network.set_submodule(name, torch.nn.Conv2d(**convolution))
    network.load_state_dict(load_file(folder / "weights.safetensors"))
    if described["head"]["kind"] == "cosine":
        classifier = network.get_submodule(described["head"]["module"])
        classifier.__class__, classifier.temperature = Cosine, described["head"]["temperature"]
    return network.eval()


def load_images(folder, rules):
    """The images [n, 3, size, size] by a sidecar's `evaluation`, and their labels [n]."""
    resize = v2.Resize(rules["resize_shorter_side"], antialias=rules["antialias"])
    norm = v2.Normalize(rules["normalization"]["mean"], rules["normalization"]["std"])
    prepare = v2.Compose([resize, v2.CenterCrop(rules["center_crop"]), v2.ToDtype(torch.float32, scale=True), norm])
    tables = [pyarrow.parquet.read_table(path, columns=["image", "label"]) for path in sorted(folder.glob("*.parquet"))]
    rows = [row for table in tables for row in table.to_pylist()]
    encoded = [torch.frombuffer(bytearray(row["image"]["bytes"]), dtype=torch.uint8) for row in rows]
    images = torch.stack([prepare(decode_image(image, ImageReadMode.RGB)) for image in encoded])
    return images, torch.tensor([row["label"] for row in rows])


def batches_of(labels, network, batchnorm):
    """The positions of each batch; has BatchNorm use the batch where the training's evaluation did."""
    if batchnorm["statistics"] == "stored":
        return torch.arange(len(labels)).split(250)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.train()  # normalizes by the batch
    order = labels.argsort(stable=True)
    if batchnorm["order"] == "shuffled":
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(batchnorm["torch_seed"]))
    workers = batchnorm["workers"]
    return [batch[rank::workers] for batch in order.tensor_split(batchnorm["batches"]) for rank in range(workers)]


@torch.inference_mode()
def top1(model_folder, data_folder):
    """Percent of the images whose class has the highest logit."""
    sidecar = json.loads((model_folder / "model.json").read_text(encoding="utf-8"))
    network = load_network(model_folder, sidecar["network"])
    images, labels = load_images(data_folder, sidecar["evaluation"])
    batches = batches_of(labels, network, sidecar["evaluation"]["batchnorm"])
    right = sum(int((network(images[batch]).argmax(1) == labels[batch]).sum()) for batch in batches)
    return 100 * right / len(labels)


if __name__ == "__main__":
    print(f"top-1: {top1(Path(sys.argv[1]), Path(sys.argv[2])):.3f} %")
