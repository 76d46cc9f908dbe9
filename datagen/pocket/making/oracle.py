"""The quality check of the pocket generator: a classifier trained on real images judges generated ones.

It serves once, before any sweep is run, to choose the sampler that ships with the generator. The oracle's training
images were seen neither by the generator nor by any model of a sweep.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from datagen.pocket import GUIDANCE
from datagen.pocket.classes import CLASSES
from datagen.pocket.making.architecture import NOISE_SCHEDULE, Pipeline, Scheduler
from datagen.pocket.making.fashion_mnist import LabelledImages
from datagen.pocket.making.progress import Meter
from datagen.pocket.making.training_loops import to_pixels

EPOCHS = 5
BATCH = 128
PEAK_RATE = 4e-3
JUDGED_PER_CLASS = 50
"""500 images in all: at 93 % agreement one standard error is 1.1 percentage points. All samplers start from the same
noise, so that their differences are less uncertain than that."""

TOLERANCE = 0.01
"""A cheaper sampler is preferred if its agreement is at most this much below the best."""


@dataclass(frozen=True)
class Sampler:
    """A way to turn noise into images.

    Attributes:
        name: Short name for tables.
        scheduler: The diffusers scheduler that takes the steps.
        steps: Number of denoiser evaluations, each for prompt and empty prompt.
    """

    name: str
    scheduler: Scheduler
    steps: int


@dataclass(frozen=True)
class Judgement:
    """How a sampler did.

    Attributes:
        sampler: Its short name.
        steps: Number of denoiser evaluations.
        agreement: Share of generated images that the oracle assigns to the class of their prompt, 0 to 1.
        images_per_core_second: Images generated per second of processor time.
    """

    sampler: str
    steps: int
    agreement: float
    images_per_core_second: float


def candidate_samplers() -> list[Sampler]:
    """The samplers that are compared; all space their steps so that the first starts from pure noise (trailing)."""

    def ddim() -> Scheduler:
        return DDIMScheduler(
            **NOISE_SCHEDULE, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=False, steps_offset=1
        )

    def solver() -> Scheduler:
        return DPMSolverMultistepScheduler(
            **NOISE_SCHEDULE,
            timestep_spacing="trailing",
            algorithm_type="dpmsolver++",
            solver_order=2,
            steps_offset=1,
        )

    return [
        Sampler("DDIM", ddim(), 10),
        Sampler("DPM-Solver++", solver(), 12),
        Sampler("DDIM", ddim(), 20),
        Sampler("DPM-Solver++", solver(), 20),
    ]


class Oracle(nn.Module):
    """A small convolutional classifier of gray 32 x 32 images, with 0.1 million parameters."""

    def __init__(self) -> None:
        """Build the untrained network."""
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((1, 32), (32, 64), (64, 128)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * 16, len(CLASSES)))

    def forward(self, pixels: Tensor) -> Tensor:
        """Classify float32 (count, 3, 32, 32) from -1 to 1 by their gray mean; returns logits (count, 10)."""
        logits: Tensor = self.head(self.features(pixels.mean(dim=1, keepdim=True)))
        return logits


def train_oracle(data: LabelledImages) -> Oracle:
    """Train an oracle from torch's global random state.

    Args:
        data: Real images no other part of the pocket world uses.

    Returns:
        The oracle in evaluation mode.
    """
    oracle = Oracle().train()
    batches_per_epoch = len(data) // BATCH
    steps = EPOCHS * batches_per_epoch
    optimizer = torch.optim.AdamW(oracle.parameters(), lr=PEAK_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK_RATE, total_steps=steps)
    meter = Meter("oracle", steps * BATCH)
    labels = torch.from_numpy(data.labels)
    for _ in range(EPOCHS):
        order = torch.randperm(len(data))
        for start in range(0, batches_per_epoch * BATCH, BATCH):
            chosen = order[start : start + BATCH]
            loss = functional.cross_entropy(oracle(to_pixels(data.images[chosen.numpy()])), labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            meter.advance(BATCH, f"(loss {loss.item():.3f})")
    return oracle.eval()


@torch.no_grad()
def agreement(oracle: Oracle, pixels: Tensor, labels: NDArray[np.int64]) -> float:
    """Share of images, float32 (count, 3, 32, 32) from -1 to 1, that the oracle assigns to their labels."""
    predicted = torch.cat([oracle(part).argmax(dim=1) for part in pixels.split(250)])
    return float((predicted.numpy() == labels).mean())


def generate(pipeline: Pipeline, sampler: Sampler, labels: NDArray[np.int64], meter: Meter) -> Tensor:
    """Generate one image for each label, the first from seed 0, the next from seed 1 and so on.

    Args:
        pipeline: The trained pipeline; its scheduler is replaced by the sampler's.
        sampler: How to sample.
        labels: Classes to generate, int64 of shape (count,).
        meter: What measures the task.

    Returns:
        Pixels, float32 of shape (count, 3, 32, 32) from -1 to 1, rounded to the 256 values of a stored image.
    """
    pipeline.scheduler = sampler.scheduler
    parts: list[Tensor] = []
    batch = 50
    for start in range(0, len(labels), batch):
        part = labels[start : start + batch]
        images = pipeline(
            [CLASSES[label].prompt for label in part],
            num_inference_steps=sampler.steps,
            guidance_scale=GUIDANCE,
            height=pipeline.vae.config.sample_size,
            width=pipeline.vae.config.sample_size,
            generator=[torch.Generator().manual_seed(start + offset) for offset in range(len(part))],
            output_type="np",
        ).images
        parts.append(torch.from_numpy((images * 255.0).round() / 127.5 - 1.0).permute(0, 3, 1, 2).float())
        meter.advance(len(part))
    return torch.cat(parts)


def judge_samplers(pipeline: Pipeline, oracle: Oracle, samplers: Sequence[Sampler]) -> list[Judgement]:
    """Generate the same 500 prompts and noises with every sampler and let the oracle judge them.

    Args:
        pipeline: The trained pipeline; its scheduler is left as the last sampler's.
        oracle: The trained oracle.
        samplers: What to compare.

    Returns:
        One judgement for each sampler, in the same order.
    """
    labels = np.tile(np.arange(len(CLASSES), dtype=np.int64), JUDGED_PER_CLASS)
    judgements: list[Judgement] = []
    for sampler in samplers:
        meter = Meter(f"{sampler.name} with {sampler.steps} steps", len(labels))
        pixels = generate(pipeline, sampler, labels, meter)
        rate = meter.images_per_core_second
        judgements.append(Judgement(sampler.name, sampler.steps, agreement(oracle, pixels, labels), rate))
        print(f"{sampler.name} with {sampler.steps} steps: agreement {judgements[-1].agreement:.3f}", flush=True)
    return judgements


def choose_sampler(samplers: Sequence[Sampler], judgements: Sequence[Judgement]) -> Sampler:
    """Choose the cheapest sampler whose agreement is within the tolerance of the best.

    Args:
        samplers: What was compared.
        judgements: How each did, in the same order.

    Returns:
        The sampler with the fewest steps among the good ones; of two with equal steps, the one that agrees more.
    """
    best = max(judgement.agreement for judgement in judgements)
    good = [
        (judgement.steps, -judgement.agreement, position)
        for position, judgement in enumerate(judgements)
        # Agreements are multiples of 1/500, so a millionth of slack only absorbs rounding.
        if judgement.agreement >= best - TOLERANCE - 1e-6
    ]
    return samplers[min(good)[2]]
