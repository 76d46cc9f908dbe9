"""The batched operators against Pillow and torchvision, given the same parameters, and the views in distribution.

Differences are in grey levels (0..255) of 8-bit images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from scipy.stats import ks_2samp
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional

from trainables.augmentations import apply, reference
from trainables.augmentations.apply import AUGMENTATION_CLASSES, Augmenter
from trainables.augmentations.autoaugment import ImageNetPolicy
from trainables.augmentations.dino_multicrop import (
    BLUR,
    FACTORS,
    FLIP,
    GREY,
    JITTER,
    NUMBERS,
    ORDER,
    SOLARIZE,
    Crop,
    coloured,
    crops_of,
    global_crop,
)
from trainables.augmentations.operators import resampling, rows
from trainables.augmentations.operators.blur import SMALL, blur_tiles, blurred
from trainables.augmentations.operators.colour import OPERATORS, ORDERS, grey, jitter, solarized
from trainables.augmentations.operators.resampling import resampled, resampled_by_matrices
from trainables.augmentations.operators.rows import edit
from trainables.augmentations.operators.uniforms import stream
from trainables.input import threads
from trainables.input.pixel_statistics import IMAGENET
from trainables.spec import TrainingSpec

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth colours with some noise, as photographs have."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 6 + 1, width // 6 + 1, generator=generator) * 300 - 20
    noise = 6 * torch.randn(3, height, width, generator=generator)
    return (interpolate(coarse, (height, width), mode="bicubic")[0] + noise).clamp(0, 255).to(torch.uint8)


def pil(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def difference(mine: Tensor, theirs: list[Tensor]) -> Tensor:
    return (mine.floor().double() - torch.stack(theirs).double()).abs()


IMAGES = torch.stack([picture(64, 64, seed) for seed in range(6)])
FACTORS_TRIED = torch.tensor([0.6, 0.85, 1.0, 1.13, 1.37, 0.0])


@pytest.mark.parametrize(
    ("operator", "theirs"),
    list(
        zip(
            OPERATORS[:3],
            (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation),
            strict=True,
        )
    ),
)
def test_enhancements_are_pillows(operator: Callable, theirs: Callable) -> None:
    expected = [tensor(theirs(pil(i), float(f))) for i, f in zip(IMAGES, FACTORS_TRIED, strict=True)]
    off = difference(operator(IMAGES.float(), FACTORS_TRIED), expected)
    assert off.max() <= 1
    assert (off > 0).double().mean() < 0.01


def test_grey_and_solarize_are_pillows() -> None:
    assert difference(grey(IMAGES.float()), [tensor(functional.rgb_to_grayscale(pil(i), 3)) for i in IMAGES]).max() == 0
    assert difference(solarized(IMAGES.float()), [tensor(functional.solarize(pil(i), 128)) for i in IMAGES]).max() == 0


def test_hue_is_torchvisions_on_tensors_within_a_level_and_near_pillows() -> None:
    corners = torch.tensor(
        [[r, g, b] for r in (0, 9, 255) for g in (0, 9, 255) for b in (0, 9, 255)], dtype=torch.uint8
    )
    images = torch.cat([IMAGES[:5].flatten(2), corners.T.expand(5, 3, 27)], dim=2)[..., None]
    shifts = torch.tensor([-0.1, -0.03, 0.0, 0.07, 0.1])
    mine = OPERATORS[3](images.float(), shifts)
    exact = [functional.adjust_hue(i.float() / 255, float(s)) * 255 for i, s in zip(images, shifts, strict=True)]
    assert difference(mine, [image.round() for image in exact]).max() <= 1
    pillow = [tensor(functional.adjust_hue(pil(i), float(s))) for i, s in zip(images, shifts, strict=True)]
    assert difference(mine, pillow).mean() < 1.5  # it turns in steps of 1/255 of the circle


@pytest.mark.parametrize("radius", [0.1, 0.3, 0.7, 1.0, 1.45, 1.5, 2.0])
@pytest.mark.parametrize("size", [16, SMALL, 64, 128])
def test_blur_is_pillows_within_three_levels(radius: float, size: int) -> None:
    images = torch.stack([picture(size, size, seed) for seed in range(2)])
    mine = blurred(images.float(), blur_tiles(torch.full((2,), radius), size))
    off = difference(mine, [tensor(pil(image).filter(ImageFilter.GaussianBlur(radius))) for image in images])
    assert off.max() <= 3
    assert off.mean() < 1


@pytest.mark.parametrize("mode", FILTERS)
def test_resized_crops_are_pillows_within_a_level(mode: str) -> None:
    images = [picture(150 + 10 * n, 200 - 7 * n, n) for n in range(3)]
    boxes = torch.tensor([[10, 20, 100, 120], [0, 0, 150, 150], [40, 30, 30, 50]]).expand(3, 3, 4)
    flips = torch.tensor([True, False, True]).expand(3, 3)
    expected = []
    for (top, left, height, width), flip in zip(boxes[0].tolist(), flips[0].tolist(), strict=True):
        for image in images:
            crop = pil(image).crop((left, top, left + width, top + height)).resize((48, 48), FILTERS[mode])
            expected.append(tensor(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else crop))
    assert difference(resampled(images, boxes, flips, 48, mode), expected).max() <= 1


@pytest.mark.parametrize("mode", FILTERS)
def test_the_matrices_of_other_devices_resize_as_the_cpu_does(mode: str) -> None:
    images = torch.stack([picture(90, 120, n) for n in range(2)])
    boxes = torch.tensor([[[5, 9, 80, 100], [30, 40, 20, 25]], [[0, 0, 90, 120], [88, 100, 2, 3]]])
    flips = torch.tensor([[True, False], [False, True]])
    mine = resampled_by_matrices(images, boxes, flips, 40, mode)
    off = difference(mine, list(resampled(images, boxes, flips, 40, mode)))
    assert off.max() <= 4  # the 8-bit operator rounds between its two passes, and bicubic amplifies that
    assert off.mean() < 0.3


def test_a_jitter_is_its_operators_in_their_order() -> None:
    factors = torch.tensor([[1.2, 0.7, 1.1, 0.05]]).expand(6, 4)
    order = ORDERS.index((3, 1, 0, 2))
    expected = IMAGES.float()
    for operator, factor in ((OPERATORS[3], 0.05), (OPERATORS[1], 0.7), (OPERATORS[0], 1.2), (OPERATORS[2], 1.1)):
        expected = operator(expected, torch.full((6,), factor))
    assert torch.equal(jitter(IMAGES.float(), factors, order), expected)


def test_only_the_chosen_images_are_edited() -> None:
    images, places = IMAGES.clone(), torch.tensor([4, 1])
    edit(images, places, lambda pixels, value: pixels * 0 + value[:, None, None, None], torch.tensor([7.0, 9.0]))
    assert torch.equal(images[[0, 2, 3, 5]], IMAGES[[0, 2, 3, 5]])
    assert (images[4] == 7).all()
    assert (images[1] == 9).all()


def test_a_crops_numbers_say_what_happens_to_it() -> None:
    numbers = torch.full((2, NUMBERS), 0.999, dtype=torch.float64)
    crop = Crop(64, (0.5, 1.0), blur=0.5, solarize=0.5)
    assert torch.equal(coloured(IMAGES[:2].clone(), crop, numbers), IMAGES[:2])
    for column, expected in ((GREY, grey(IMAGES[1:2].float())), (SOLARIZE, solarized(IMAGES[1:2].float()))):
        chosen = numbers.clone()
        chosen[1, column] = 0.0
        changed = coloured(IMAGES[:2].clone(), crop, chosen)
        assert torch.equal(changed[0], IMAGES[0])
        assert torch.equal(changed[1:], expected.to(torch.uint8))
    chosen = numbers.clone()
    chosen[1, JITTER], chosen[1, ORDER] = 0.0, 5 / 24
    chosen[1, FACTORS:GREY] = torch.tensor([0.0, 1.0, 0.5, 0.75])
    expected = jitter(IMAGES[1:2].float(), torch.tensor([[0.6, 1.4, 1.0, 0.05]]), 5)
    assert torch.equal(coloured(IMAGES[:2].clone(), crop, chosen)[1:], expected.to(torch.uint8))


def test_a_sample_looks_the_same_in_any_batch_at_full_size_too(base_spec: TrainingSpec) -> None:
    images = [picture(180 + 13 * n, 260 - 9 * n, n) for n in range(5)]
    for name in AUGMENTATION_CLASSES:
        views = Augmenter(replace(base_spec, augmentation=name, image_size=224), 5, IMAGENET)
        together = views(images, torch.arange(5), 1)
        for position in (0, 3):
            alone = views([images[position]], torch.tensor([position]), 1)
            for group, own in zip(together, alone, strict=True):
                assert torch.equal(own, group[position::5]), name


def test_small_views_keep_their_pixels_bit_for_bit(base_spec: TrainingSpec) -> None:
    """The measured pocket results rest on these: 12 bits below a level, which leaves room for other processors."""
    images = torch.randint(0, 256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    spec = replace(base_spec, augmentation="pytorch_example", image_size=32, minimum_crop=0.5, seed=0)
    (views,) = Augmenter(spec, 6, IMAGENET)(images, torch.arange(6), 1)
    pixels = (views * 4096).round().int().contiguous().numpy().tobytes()
    assert hashlib.sha256(pixels).hexdigest() == "2fbd7415e4b827523b31c468c9bfac158ad1b04318c3d1a4ac77962860dae078"


def test_streams_are_uniform_and_independent_of_their_neighbours() -> None:
    seeds = torch.rand(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    numbers = stream(seeds, 40)
    assert torch.equal(stream(seeds[7:9], 40), numbers[7:9])
    assert ks_2samp(numbers.flatten().numpy(), np.random.default_rng(0).random(80_000)).pvalue > 0.001
    correlations = np.corrcoef(numbers.numpy().T) - np.eye(40)
    assert np.abs(correlations).max() < 0.1
    assert len(stream(torch.arange(1000).double() * 2.0**-53, 3).unique()) == 3000


def test_crops_are_distributed_as_the_reference_paths() -> None:
    """Mean, contrast and sharpness of 600 global crops of one picture at 48 px, and how many are grey."""
    image, count = picture(80, 100, 3), 600
    numbers = stream(torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), NUMBERS)
    mine = crops_of(image.expand(count, -1, -1, -1), global_crop(48), numbers[:, None]).double()
    torch.manual_seed(0)
    transform = reference.one_crop(global_crop(48))
    theirs = torch.stack([tensor(transform(pil(image))) for _ in range(count)]).double()
    for measure in (
        lambda x: x.mean((1, 2, 3)),
        lambda x: x.std((1, 2, 3)),
        lambda x: (x[..., 1:] - x[..., :-1]).abs().mean((1, 2, 3)),
        lambda x: (x[:, 0] - x[:, 2]).mean((1, 2)),
    ):
        assert ks_2samp(measure(mine).numpy(), measure(theirs).numpy()).pvalue > 0.001
    shares = [float((x == x[:, :1]).all(3).all(2).all(1).double().mean()) for x in (mine, theirs)]
    assert abs(shares[0] - 0.2) < 0.06
    assert abs(shares[1] - 0.2) < 0.06


def test_each_change_happens_as_often_as_t_rex_says() -> None:
    numbers = stream(torch.rand(4000, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), NUMBERS)
    for column, chance in ((FLIP, 0.5), (JITTER, 0.8), (GREY, 0.2), (BLUR, 0.2), (SOLARIZE, 0.2)):
        assert abs(float((numbers[:, column] < chance).double().mean()) - chance) < 0.03
    assert ((numbers[:, ORDER] * 24).long().bincount(minlength=24) > 100).all()


def test_autoaugment_is_torchvisions_policy_with_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same draws give the same image: torchvision's are replaced by ours, in its order."""
    policy, theirs = ImageNetPolicy(), v2.AutoAugment(interpolation=InterpolationMode.NEAREST)
    image = pil(picture(64, 64, 5))
    for seed in range(60):
        generator = np.random.Generator(np.random.PCG64(seed))
        sub_policy = int(generator.integers(25))
        draws = generator.random((2, 2))
        numbers = []
        for (name, chance, _), (draw, side) in zip(policy._policies[sub_policy], draws, strict=True):
            signed = policy._AUGMENTATION_SPACE[name][1]
            numbers += [draw, side] if draw <= chance and signed else [draw]
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randint", lambda *_, number=sub_policy: torch.tensor(number))
            patch.setattr(torch, "rand", lambda *_, left=numbers: torch.tensor(left.pop(0), dtype=torch.float64))
            expected = theirs(image)
        mine = policy.applied(image, np.random.Generator(np.random.PCG64(seed)))
        assert np.array_equal(np.array(mine), np.array(expected)), seed


def test_small_images_look_the_same_in_a_list_and_in_a_tensor(base_spec: TrainingSpec) -> None:
    images = torch.stack([picture(32, 32, seed) for seed in range(4)])
    views = Augmenter(replace(base_spec, augmentation="pytorch_example"), 4, IMAGENET)
    assert torch.equal(views(images, torch.arange(4), 1)[0], views(list(images), torch.arange(4), 1)[0])


def test_threads_change_nothing(base_spec: TrainingSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(70 + 3 * n, 90, n) for n in range(7)]

    def made() -> list[Tensor]:
        spec = replace(base_spec, augmentation="dino_multicrop", image_size=48, local_size=24)
        return Augmenter(spec, 7, IMAGENET)(images, torch.arange(7), 1)

    monkeypatch.setattr(threads, "_threads", lambda: 1)
    alone = made()
    monkeypatch.setattr(threads, "_threads", lambda: 3)
    monkeypatch.setattr(resampling, "SMALL_BATCH", 0)
    for module in (rows, apply):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1)
    assert all(torch.equal(one, other) for one, other in zip(alone, made(), strict=True))


def test_editing_works_as_on_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block and torch's own indexing, which a GPU takes, give what the CPU's blocks give."""
    places, radii = torch.tensor([5, 0, 2]), torch.tensor([0.5, 1.3, 2.0])
    expected, images = IMAGES.clone(), IMAGES.clone()
    edit(expected, places, blurred, blur_tiles(radii, 64))
    monkeypatch.setattr(rows, "_on_cpu", lambda images: False)
    edit(images, places, blurred, blur_tiles(radii, 64))
    assert torch.equal(images, expected)
