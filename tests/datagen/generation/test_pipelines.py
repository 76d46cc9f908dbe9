"""Every kind of pipeline: exact images, what is fused and switched off, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from datagen import pocket
from datagen.core.errors import InputError
from datagen.datasets.pictures import checked_picture
from datagen.datasets.shards import ImageRow, publish_dataset, read_manifest
from datagen.datasets.source_rows import SourceRows
from datagen.datasets.spec import DiffusionDataset, GeneratedDataset, OracleDataset, RealDataset
from datagen.generation.diffusion import DiffusionPainter, TextToImage
from datagen.generation.generators import generator_for
from datagen.generation.pipeline_folders import PIPELINES, adapter_file, pipeline_class, weights_variant
from datagen.generation.pipelines import look_up_on_the_host
from tests import tiny_pipelines

NAMES = read_manifest(pocket.IMAGES / "train").class_names
PROMPTS = tuple((f"{name}, a garment", name) for name in NAMES)
KINDS = ("sdxl", "sdxl with LoRA", "unclip", "image_to_image")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    rows = SourceRows(pocket.IMAGES / "train").read(range(24))
    publish_dataset(root / "source", [rows[:10], rows[10:]], split="train", class_names=NAMES, description={})
    sdxl = tiny_pipelines.save_sdxl(root / "sdxl")
    lora = tiny_pipelines.save_lora(sdxl, root / "lora")
    return {
        "sdxl": sdxl,
        "lora": lora,
        "unclip": tiny_pipelines.save_unclip(root / "unclip"),
        "source": root / "source",
    }


def spec_of(kind: str, folders: dict[str, Path], **settings: Any) -> DiffusionDataset:
    common: dict[str, Any] = {
        "class_names": NAMES,
        "prompts": PROMPTS,
        "pipeline": kind,
        "pipeline_digest": "0",
        "steps": 2,
        "guidance": 3.0,
        "width": 32,
        "height": 32,
        **settings,
    }
    if kind.startswith("sdxl"):
        adapter = {"adapter": "lora", "adapter_digest": "0", "adapter_folder": folders["lora"], "scheduler": "lcm"}
        common |= {"pipeline_folder": folders["sdxl"], "images_per_class": 2}
        return GeneratedDataset(**(common | (adapter if "LoRA" in kind else {})))
    source = RealDataset(class_names=NAMES, split="train", digest="0", rows=24, folder=folders["source"])
    common = {"pipeline_folder": folders["unclip"] if kind == "unclip" else pocket.GENERATOR, **common}
    return OracleDataset(**common, source=source, method=kind)


def positions_of(spec: DiffusionDataset) -> Sequence[Any]:
    return range(18) if isinstance(spec, OracleDataset) else [(row % 10, row // 10) for row in range(18)]


def drawn(spec: DiffusionDataset, positions: Sequence[Any], folders: dict[str, Path]) -> list[ImageRow]:
    return generator_for(spec, "cpu", folders["source"]).draw(positions)


def noise_and_images(
    spec: DiffusionDataset, positions: Sequence[Any], folders: dict[str, Path]
) -> dict[Any, tuple[str, bytes]]:
    """The first input of the denoiser and the encoded image, by position."""
    generator: Any = generator_for(spec, "cpu", folders["source"])
    first: list[torch.Tensor] = []
    calls: list[int] = []

    def note(module: Any, arguments: Any, options: Any) -> None:
        sample = options.get("sample", arguments[0] if arguments else None)
        if len(calls) % (spec.steps if "image_to_image" != getattr(spec, "method", "") else 1) == 0:
            first.append(sample.chunk(2)[0] if generator._embeddings.guided else sample)
        calls.append(1)

    generator._pipeline.unet.register_forward_pre_hook(note, with_kwargs=True)
    rows = generator.draw(positions)
    at_once = spec.images_at_once
    noise = [batch[: min(at_once, len(positions) - at_once * n)] for n, batch in enumerate(first)]
    hashes = [hashlib.sha256(latent.numpy().tobytes()).hexdigest() for latent in torch.cat(noise)]
    return {position: (h, row.image) for position, h, row in zip(positions, hashes, rows, strict=True)}


@pytest.mark.parametrize("kind", KINDS)
def test_noise_and_pixels_are_equal_in_any_batch_and_order(kind: str, folders: dict[str, Path]) -> None:
    spec = spec_of(kind, folders)
    positions = list(positions_of(spec))
    expected = noise_and_images(spec, positions, folders)
    assert len(set(expected.values())) == len(positions)
    assert noise_and_images(replace(spec, images_at_once=7), positions[::-1], folders) == expected
    alone = noise_and_images(replace(spec, images_at_once=1), positions[3:5], folders)
    assert alone == {position: expected[position] for position in positions[3:5]}


VARIANTS: dict[str, dict[str, Any]] = {
    "fewer steps": {"steps": 3},
    "another scheduler": {"scheduler": "dpmsolver++"},
    "deep features kept": {"deepcache_interval": 3},
    "weights in float8": {"denoiser_weights": "float8"},
    "both": {"deepcache_interval": 2, "denoiser_weights": "float8"},
}
"""Settings that are faster or smaller and change the images."""


@pytest.fixture(scope="module")
def plain_images() -> dict[str, np.ndarray]:
    return {}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_another_data_set_of_nearly_the_same_images(
    variant: str, generated_spec: GeneratedDataset, plain_images: dict[str, np.ndarray]
) -> None:
    plain = replace(generated_spec, steps=6)
    changed = replace(plain, **VARIANTS[variant])
    assert changed.fingerprint != plain.fingerprint
    object.__setattr__(changed, "fingerprint", plain.fingerprint)  # The same noise for both.
    positions = [(row % 2, row // 2) for row in range(8)]
    if not plain_images:
        plain_images["plain"] = pixels(generator_for(plain, "cpu").draw(positions))
    ours, theirs = pixels(generator_for(changed, "cpu").draw(positions)), plain_images["plain"]
    apart = np.abs(theirs - np.roll(theirs, 2, axis=0)).mean()  # of images of the same class
    assert 0.05 < np.abs(ours - theirs).mean() < apart / 2


def pixels(rows: Sequence[ImageRow]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(row.image)), float) for row in rows])


@pytest.mark.parametrize(("kind", "variant"), [("sdxl", "both"), ("unclip", "deep features kept")])
def test_a_variants_noise_and_pixels_are_equal_in_any_batch_and_order(
    kind: str, variant: str, folders: dict[str, Path]
) -> None:
    spec = spec_of(kind, folders, **{**VARIANTS[variant], "steps": 3, "deepcache_interval": 2})
    positions = list(positions_of(spec))[:9]
    expected = noise_and_images(spec, positions, folders)
    assert len(set(expected.values())) == len(positions)
    assert noise_and_images(replace(spec, images_at_once=7), positions[::-1], folders) == expected
    alone = noise_and_images(replace(spec, images_at_once=1), positions[3:5], folders)
    assert alone == {position: expected[position] for position in positions[3:5]}


def test_deep_features_are_computed_every_so_many_steps_of_each_batch(folders: dict[str, Path]) -> None:
    spec = spec_of("sdxl", folders, steps=5, deepcache_interval=3, images_at_once=2)
    generator: Any = generator_for(spec, "cpu")
    ran: dict[str, list[int]] = {}
    steps: list[int] = []
    unet = generator._pipeline.unet
    unet.register_forward_pre_hook(lambda module, inputs: steps.append(len(steps)))
    parts = {"deepest": unet.mid_block.resnets[0], "last": unet.up_blocks[-1].resnets[-1], "first": unet.conv_in}
    for name, module in parts.items():
        ran[name] = []
        module.register_forward_pre_hook(lambda module, inputs, name=name: ran[name].append(len(steps) - 1))
    generator.draw([(0, 0), (1, 0), (2, 0)])  # Two batches.
    assert ran == {"deepest": [0, 3, 5, 8], "last": list(range(10)), "first": list(range(10))}


def test_weights_in_float8_are_those_of_convolutions_and_linear_layers(folders: dict[str, Path]) -> None:
    generator: Any = generator_for(spec_of("sdxl with LoRA", folders, denoiser_weights="float8", compile=False), "cpu")
    kinds = {name: weight.dtype for name, weight in generator._pipeline.unet.named_parameters()}
    rounded = {name for name, kind in kinds.items() if kind == torch.float8_e4m3fn}
    assert any("conv1" in name for name in rounded) and any("to_q" in name for name in rounded)
    assert not any("norm" in name for name in rounded)
    assert {part.dtype for part in generator._pipeline.vae.parameters()} == {torch.float32}


def test_defaults_change_nothing(folders: dict[str, Path]) -> None:
    spec = spec_of("sdxl", folders)
    assert {"deepcache_interval", "denoiser_weights"}.isdisjoint(spec.canonical())
    generator: Any = generator_for(spec, "cpu")
    assert generator._deep_features is None
    assert {weight.dtype for weight in generator._pipeline.unet.parameters()} == {torch.float32}


def test_a_compiled_denoiser_keeps_deep_features_too(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of("sdxl", folders, steps=4, deepcache_interval=2, images_at_once=16)
    expected = drawn(spec, [(0, 0), (1, 0)], folders)
    compiled: list[Any] = []

    def note(forward: Any) -> Any:
        compiled.append(forward.__self__)
        return forward

    monkeypatch.setattr(torch, "compile", note)  # The real one takes half a minute.
    generator: Any = generator_for(replace(spec, compile=True), "cpu")
    assert generator.draw([(0, 0), (1, 0)]) == expected
    assert compiled == [generator._pipeline.unet, generator._pipeline.vae.decoder]


@pytest.mark.parametrize("scheduler", ["pndm", "ddim"])
def test_schedulers_take_timesteps_from_the_hosts_copy(scheduler: str, folders: dict[str, Path]) -> None:
    spec = spec_of("image_to_image", folders, steps=10, strength=0.5, scheduler=scheduler)  # Begins in the middle.
    expected = drawn(spec, [0], folders)
    taken: list[int] = []
    generator: Any = generator_for(spec, "cpu", folders["source"])
    used = generator._pipeline.scheduler
    step = used.step

    def note(model_output: torch.Tensor, timestep: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        assert timestep.untyped_storage().data_ptr() != used.timesteps.untyped_storage().data_ptr()
        taken.append(int(timestep))
        return step(model_output, timestep, *arguments, **options)

    used.step = note
    look_up_on_the_host(used)
    assert generator.draw([0]) == expected
    assert taken == used.timesteps.tolist()[-len(taken) :]


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        ("sdxl", {"deepcache_interval": 3}, "deepcache_interval must be at most 2, the steps that are taken, not 3."),
        ("image_to_image", {"steps": 10, "strength": 0.3, "deepcache_interval": 4}, "at most 3, the steps that are"),
        ("sdxl", {"denoiser_weights": "float8", "compile": True}, "compile=true does not go with denoiser_weights"),
        ("sdxl", {"denoiser_weights": "float4"}, "denoiser_weights must be one of precision, float8"),
    ],
)
def test_variants_that_cannot_work_are_refused(
    kind: str, settings: dict[str, Any], sentence: str, folders: dict[str, Path]
) -> None:
    with pytest.raises(InputError, match=sentence):
        spec_of(kind, folders, **settings)


def test_an_oracle_image_has_the_label_and_index_of_its_source_and_depends_on_it(folders: dict[str, Path]) -> None:
    spec = spec_of("unclip", folders)
    rows = drawn(spec, range(24), folders)
    sources = SourceRows(folders["source"]).read(range(24))
    assert [(row.label, row.class_name, row.index) for row in rows] == [
        (row.label, row.class_name, row.index) for row in sources
    ]
    assert all(row.seed == spec.image_seed(row.class_name, row.index) for row in rows)
    other = folders["source"].with_name("other")
    swapped = [replace(sources[0], image=sources[1].image), *sources[1:]]
    publish_dataset(other, [swapped], split="train", class_names=NAMES, description={})
    (changed,) = generator_for(spec, "cpu", other).draw([0])
    assert changed.image != rows[0].image


def test_noise_level_and_guidance_are_settings_of_unclip(folders: dict[str, Path]) -> None:
    images = set()
    for settings in ({}, {"noise_level": 900}, {"guidance": 10.0}):
        spec = spec_of("unclip", folders, **settings)
        object.__setattr__(spec, "fingerprint", "0")  # The same noise for all.
        images.add(drawn(spec, [0], folders)[0].image)
    assert len(images) == 3


def test_a_lora_is_fused_and_changes_the_images(folders: dict[str, Path]) -> None:
    generator: Any = generator_for(spec_of("sdxl with LoRA", folders), "cpu")
    plain: Any = generator_for(spec_of("sdxl", folders), "cpu")
    assert not any("lora" in name for name, _ in generator._pipeline.unet.named_parameters())
    ours, theirs = generator._pipeline.unet.state_dict(), plain._pipeline.unet.state_dict()
    changed = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert changed and all("to_q" in name or "to_v" in name for name in changed)
    assert type(generator._pipeline.scheduler).__name__ == "LCMScheduler"


@pytest.mark.parametrize(("guidance", "passes"), [(0.5, 16), (1.0, 16), (1.5, 32)])
def test_guidance_up_to_1_costs_no_second_pass(guidance: float, passes: int, folders: dict[str, Path]) -> None:
    generator: Any = generator_for(spec_of("sdxl with LoRA", folders, guidance=guidance), "cpu")
    sizes: list[int] = []
    generator._pipeline.unet.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    generator.draw([(0, 0)])
    assert sizes == [passes, passes]  # A batch of one is padded to 16 on the CPU.


def test_a_prompt_is_encoded_once(folders: dict[str, Path]) -> None:
    generator: Any = generator_for(spec_of("sdxl", folders, images_at_once=4), "cpu")
    encoded: list[str] = []
    encode = generator._pipeline.encode_prompt

    def counting(**options: Any) -> Any:
        encoded.append(options["prompt"])  # None where the pipeline itself asks, with embeddings at hand
        return encode(**options)

    generator._pipeline.encode_prompt = counting
    generator.draw([(row % 2, row // 2) for row in range(4)] * 3)
    assert sorted(filter(None, encoded)) == sorted({prompt for prompts in PROMPTS[:2] for prompt in prompts})


def test_neither_safety_checker_nor_watermark_touches_an_image(
    folders: dict[str, Path], generated_spec: GeneratedDataset
) -> None:
    plain: Any = TextToImage(generated_spec)
    assert plain._pipeline.safety_checker is None
    sdxl: Any = generator_for(spec_of("sdxl", folders), "cpu")
    assert sdxl._pipeline.watermark is None


def test_an_image_that_is_not_a_number_is_no_black_picture(generated_spec: GeneratedDataset) -> None:
    generator: Any = TextToImage(generated_spec)
    generator._pipeline.vae.decoder.conv_out.bias.data[:] = float("nan")
    with pytest.raises(ArithmeticError, match="not a number"):
        generator.draw([(0, 0)])


def test_a_long_prompt_is_named_and_cut_only_if_asked(generated_spec: GeneratedDataset) -> None:
    long = replace(generated_spec, prompts=(("shirt " * 80,), ("coat",)))
    with pytest.raises(
        InputError, match=r"The prompt 'shirt shirt .* tokens, more than the 32 .*long_prompts=truncate"
    ):
        TextToImage(long)
    (row,) = TextToImage(replace(long, long_prompts="truncate")).draw([(0, 0)])
    assert row.prompt == "shirt " * 80


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"width": 36}, "multiples of 8, not 36 and 32"),
        ({"steps": 1000, "precision": "float32", "width": 20}, "multiples of 8"),
    ],
)
def test_settings_that_do_not_fit_the_pipeline_are_refused(
    settings: dict[str, Any], sentence: str, generated_spec: GeneratedDataset
) -> None:
    with pytest.raises(InputError, match=sentence):
        TextToImage(replace(generated_spec, **settings))


def test_a_strength_that_leaves_no_step_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"strength=0\.2 of 2 steps leaves none"):
        generator_for(spec_of("image_to_image", folders, strength=0.2), "cpu", folders["source"])


def test_a_class_of_pipeline_that_does_not_fit_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a StableUnCLIPImg2ImgPipeline, but one that"):
        pipeline_class(folders["unclip"], None)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "os.system"}))
    with pytest.raises(InputError, match=r"is a os\.system, but"):
        pipeline_class(tmp_path, PIPELINES["unclip"])


def test_a_component_that_is_missing_or_pickled_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "generator"
    shutil.copytree(pocket.GENERATOR, folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(
        InputError, match=r"vae holds its weights only as diffusion_pytorch_model\.bin, which is pickled"
    ):
        pipeline_class(folder, None)
    shutil.rmtree(folder / "vae")
    with pytest.raises(InputError, match="lacks vae"):
        pipeline_class(folder, None)


def test_damaged_weights_are_one_sentence(generated_spec: GeneratedDataset, tmp_path: Path) -> None:
    shutil.copytree(pocket.GENERATOR, tmp_path / "generator")
    weights = tmp_path / "generator" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be loaded"):
        TextToImage(replace(generated_spec, pipeline_folder=tmp_path / "generator"))


def test_an_adapter_is_one_safetensors_file(folders: dict[str, Path], tmp_path: Path) -> None:
    assert adapter_file(folders["lora"]).suffix == ".safetensors"
    (tmp_path / "pytorch_lora_weights.bin").touch()
    with pytest.raises(InputError, match=r"pytorch_lora_weights\.bin, which is pickled and never loaded"):
        adapter_file(tmp_path)
    spec = replace(spec_of("sdxl with LoRA", folders), adapter_folder=folders["sdxl"] / "unet")
    with pytest.raises(InputError, match=r"The LoRA .* cannot be used"):
        generator_for(spec, "cpu")


def test_half_precision_files_of_the_hub_are_found(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "diffusion_pytorch_model.fp16.safetensors").touch()
    assert weights_variant(tmp_path) == "fp16"
    (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").touch()
    assert weights_variant(tmp_path) is None


def test_parts_of_two_precisions_load_together(folders: dict[str, Path], tmp_path: Path) -> None:
    """The hub has some pipelines' denoisers in half precision and their text encoders in full."""
    mixed = tmp_path / "mixed"
    shutil.copytree(folders["sdxl"], mixed)
    weights = mixed / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    spec = spec_of("sdxl", folders)
    position = [(0, 0)]
    other = replace(spec, pipeline_folder=mixed)
    assert drawn(other, position, folders)[0].image == drawn(spec, position, folders)[0].image


def test_a_batch_that_does_not_fit_is_halved_and_draws_the_same(
    generated_spec: GeneratedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = [(row % 2, row // 2) for row in range(24)]
    painter = TextToImage(replace(generated_spec, images_at_once=24))
    whole = painter.draw(positions)
    inner, sizes = painter._draw_batch, list[int]()

    def small_card(subjects: Sequence[Any]) -> np.ndarray:
        sizes.append(len(subjects))
        if len(subjects) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(subjects)

    monkeypatch.setattr(painter, "_draw_batch", small_card)
    assert [row.image for row in painter.draw(positions)] == [row.image for row in whole]
    assert sizes == [24, 12, 6, 6, 6, 6]
    assert len(painter.draw(positions[:6])) == 6 and sizes[6:] == [6], "it stays halved"

    def no_room(subjects: Sequence[Any]) -> np.ndarray:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(painter, "_draw_batch", no_room)
    with pytest.raises(InputError, match=r"does not hold one image of 32 x 32 pixels\. See what else is on it"):
        painter.draw(positions[:4])


def test_drawn_images_are_stored_as_an_import_stores_real_ones(generated_spec: GeneratedDataset) -> None:
    """One resampling and one encoder: a gap between them is not its."""
    spec = replace(generated_spec, image_format="jpeg")
    plain = TextToImage(replace(spec, image_format="png")).draw([(0, 0)])[0].image
    painter = TextToImage(replace(spec, stored_size=16))
    painter._seed = TextToImage(replace(spec, image_format="png"))._seed  # type: ignore[method-assign]
    stored = painter.draw([(0, 0)])[0].image
    assert stored == checked_picture(plain, resize=16).encoded
    assert Image.open(io.BytesIO(stored)).size == (16, 16)
    assert replace(spec, stored_size=16).fingerprint != spec.fingerprint


def test_painters_share_one_code() -> None:
    from datagen.generation.oracles import OracleGenerator

    assert TextToImage.draw is OracleGenerator.draw is DiffusionPainter.draw
