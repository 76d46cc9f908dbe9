"""CLIPScore equals torchmetrics', and what it cannot be asked of is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torchmetrics.functional.multimodal.clip_score import _clip_score_update
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

from datagen import pocket
from datagen.core.errors import InputError
from datagen.datasets.decoding import decoded_image
from datagen.datasets.shards import ImageRow, publish_dataset
from datagen.datasets.source_rows import SourceRows
from datagen.measure import main
from datagen.measuring.clip_score import clip_scores


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of a few thousand random weights."""
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(pocket.GENERATOR / "tokenizer", local_files_only=True)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = {**small, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": tokenizer.model_max_length}
    config = CLIPConfig(text_config=text, vision_config={**small, "image_size": 32, "patch_size": 8}, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


def published(folder: Path, prompts: bool) -> list[ImageRow]:
    rows = [
        ImageRow(row.image, row.path, row.label, row.class_name, row.index, prompt=row.class_name if prompts else "")
        for row in SourceRows(pocket.IMAGES / "train").read(range(6))
    ]
    names = tuple(sorted({row.class_name for row in SourceRows(pocket.IMAGES / "train").read(range(20))}))
    publish_dataset(folder, [rows], split="train", class_names=names, description={})
    return rows


def test_the_score_is_torchmetrics(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = published(tmp_path / "set", prompts=True)
    found = clip_scores(tmp_path / "set", clip, lambda done, total: None)
    network, processor = CLIPModel.from_pretrained(clip), CLIPProcessor.from_pretrained(clip)
    for name in ("get_image_features", "get_text_features"):
        # torchmetrics 1.9 expects the tensor that transformers gave before its version 5.
        given = getattr(network, name)
        monkeypatch.setattr(network, name, lambda *a, given=given, **k: given(*a, **k).pooler_output)
    images = [decoded_image(row.image) for row in rows]
    expected, _ = _clip_score_update(images, [row.prompt for row in rows], network, processor)
    assert found == pytest.approx(np.maximum(expected.detach().numpy(), 0), abs=1e-3)


def test_images_without_prompts_and_folders_without_clip_are_told(clip: Path, tmp_path: Path) -> None:
    published(tmp_path / "set", prompts=False)
    with pytest.raises(InputError, match="has no prompt: CLIPScore is of images drawn from prompts"):
        clip_scores(tmp_path / "set", clip, lambda done, total: None)
    with pytest.raises(InputError, match="holds no CLIP model with text and image towers as safetensors"):
        clip_scores(tmp_path / "set", tmp_path, lambda done, total: None)
    assert "--clip" in CliRunner().invoke(main, ["--help"]).output
