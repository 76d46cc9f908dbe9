"""Any pipeline of diffusers that draws from a prompt: what it is called with is told by its signature."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datagen import pocket
from datagen.core.errors import InputError
from datagen.datasets.spec import GeneratedDataset
from datagen.generation.generators import generator_for
from datagen.generation.pipeline_classes import call_arguments, check_draws_from_prompts
from datagen.generation.pipeline_folders import pipeline_class
from tests import tiny_pipelines

FAMILIES = {"sd3": tiny_pipelines.save_sd3, "flux": tiny_pipelines.save_flux}
CLASSES = ("goose", "robin")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {name: save(root / name) for name, save in FAMILIES.items()}


def spec_of(folder: Path, **settings: Any) -> GeneratedDataset:
    values: dict[str, Any] = {
        "class_names": CLASSES,
        "prompts": (("a photo of a goose", "a goose"), ("a photo of a robin",)),
        "pipeline": folder.name,
        "pipeline_digest": "0",
        "pipeline_folder": folder,
        "images_per_class": 9,
        "steps": 2,
        "guidance": 3.0,
        "width": 32,
        "height": 32,
    }
    return GeneratedDataset(**(values | settings))


def drawn(spec: GeneratedDataset, positions: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    rows = generator_for(spec, "cpu").draw(positions)
    return {position: row.image for position, row in zip(positions, rows, strict=True)}


@pytest.mark.parametrize("family", FAMILIES)
def test_pixels_are_equal_in_batches_of_1_7_and_16_and_in_any_order(family: str, folders: dict[str, Path]) -> None:
    spec = spec_of(folders[family])
    positions = [(row % 2, row // 2) for row in range(17)]
    expected = drawn(replace(spec, images_at_once=16), positions)
    assert len(set(expected.values())) == len(positions)
    assert drawn(replace(spec, images_at_once=7), positions[::-1]) == expected
    assert drawn(replace(spec, images_at_once=1), positions[3:5]) == {p: expected[p] for p in positions[3:5]}


@pytest.mark.parametrize("family", FAMILIES)
def test_guidance_prompts_and_steps_reach_the_pipeline(family: str, folders: dict[str, Path]) -> None:
    spec, position = spec_of(folders[family]), [(0, 0)]
    variants = [
        spec,
        replace(spec, guidance=7.0),
        replace(spec, steps=3),
        replace(spec, prompts=(("another thing",), ("b",))),
    ]
    # The noise goes by the fingerprint, which each setting changes: it is held.
    seeds = [variant.image_seed("goose", 0) for variant in variants]
    assert len(set(seeds)) == len(variants)
    images = []
    for variant in variants:
        generator: Any = generator_for(variant, "cpu")
        generator._seed = lambda subject: 7
        images.append(generator.draw(position)[0].image)
    assert len(set(images)) == len(variants)


def test_further_arguments_are_part_of_what_a_set_is_and_reach_the_pipeline(folders: dict[str, Path]) -> None:
    spec = spec_of(folders["sd3"])
    written = [replace(spec, pipeline_arguments=text) for text in ('{"a": 1, "b": 2}', '{ "b":2,"a":1 }')]
    assert written[0].fingerprint == written[1].fingerprint != spec.fingerprint
    assert replace(spec, pipeline_arguments="{}").fingerprint == spec.fingerprint
    images = []
    for text in ("", '{"negative_prompt": "a robin"}', '{"max_sequence_length": 5}'):
        generator: Any = generator_for(replace(spec, pipeline_arguments=text), "cpu")
        generator._seed = lambda subject: 7
        images.append(generator.draw([(0, 0)])[0].image)
    assert len(set(images)) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"max_tokens": 5}', "has max_tokens, but a StableDiffusion3Pipeline takes of them: clip_skip, "),
        ('{"guidance_scale": 5}', "has guidance_scale, but"),
        ("[1]", "must be a JSON object"),
        ("max_sequence_length=5", "must be a JSON object"),
    ],
)
def test_arguments_that_the_pipeline_does_not_take_are_refused(text: str, said: str, folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=said):
        generator_for(spec_of(folders["sd3"], pipeline_arguments=text), "cpu")


def test_what_does_not_go_with_a_family_is_refused(folders: dict[str, Path]) -> None:
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("sd3", {"scheduler": "ddim"}, "scheduler=ddim does not go with a StableDiffusion3Pipeline"),
        ("flux", {"deepcache_interval": 2}, "a UNet, which a FluxPipeline has not"),
        ("flux", {"width": 30}, "multiples of 4, not 30 and 32"),
        ("sd3", {"prompts": (("word " * 99,), ("b",))}, "tokens, more than the"),
    ]
    for family, settings, said in cases:
        with pytest.raises(InputError, match=said):
            generator_for(spec_of(folders[family], **settings), "cpu")


@pytest.mark.parametrize(
    "name",
    [
        *("StableDiffusionPipeline", "StableDiffusionXLPipeline", "StableDiffusion3Pipeline", "FluxPipeline"),
        *(
            "SanaPipeline",
            "PixArtAlphaPipeline",
            "Lumina2Pipeline",
            "QwenImagePipeline",
            "LatentConsistencyModelPipeline",
        ),
    ],
)
def test_the_fields_text_to_image_pipelines_are_known_by_their_signature(name: str) -> None:
    check_draws_from_prompts(name, Path("folder"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("os.system", "is no class of the installed diffusers"),
        ("StableDiffusionImg2ImgPipeline", "draws an image from a prompt is needed here: it takes image"),
        ("AudioLDMPipeline", "it takes audio_length_in_s"),
        ("DDPMPipeline", "it takes no"),
    ],
)
def test_a_class_that_draws_from_no_prompt_is_refused(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_draws_from_prompts(name, Path("folder"))


def test_a_signature_is_that_of_the_class_itself() -> None:
    import diffusers

    for name in ("FluxPipeline", "StableDiffusion3Pipeline", "SanaPipeline"):
        code = getattr(diffusers, name).__call__.__wrapped__.__code__
        assert call_arguments(name) == set(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])


def test_parts_of_another_library_are_never_loaded(tmp_path: Path) -> None:
    shutil.copytree(pocket.GENERATOR, tmp_path / "generator")
    index = json.loads((tmp_path / "generator/model_index.json").read_text())
    index["text_encoder"] = ["subprocess", "Popen"]
    (tmp_path / "generator/model_index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="neither diffusers' nor transformers': text_encoder of subprocess"):
        pipeline_class(tmp_path / "generator", None)
