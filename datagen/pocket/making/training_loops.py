"""The two trainings of the pocket generator: first the autoencoder, then the denoiser with its text encoder."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from datagen.pocket.making.architecture import NOISE_SCHEDULE, TOKENS, Autoencoder, Pipeline, Scheduler
from datagen.pocket.making.fashion_mnist import LabelledImages, pad
from datagen.pocket.making.progress import Meter


@dataclass(frozen=True)
class Recipe:
    """How long and how fast the generator is trained; fixed before any classifier was trained on its images.

    Attributes:
        autoencoder_epochs: Passes over the images.
        autoencoder_batch: Images per step.
        autoencoder_rate: Peak learning rate of the one-cycle schedule.
        divergence_weight: Weight of the latents' divergence from the normal distribution, against errors per pixel.
        denoiser_steps: Optimizer steps; the cosine schedule ends exactly there.
        denoiser_batch: Images per step.
        denoiser_rate: Peak learning rate.
        warmup_steps: Steps in which the learning rate rises linearly to its peak.
        caption_drop: Share of images trained with the empty prompt, which guidance needs.
        average_decay: Decay of the exponential moving average of the weights, which is what ships.
    """

    autoencoder_epochs: int = 6
    autoencoder_batch: int = 64
    autoencoder_rate: float = 2e-3
    divergence_weight: float = 1e-3
    denoiser_steps: int = 2000
    denoiser_batch: int = 128
    denoiser_rate: float = 2e-3
    warmup_steps: int = 100
    caption_drop: float = 0.1
    average_decay: float = 0.998


@dataclass(frozen=True)
class Outcome:
    """What a training cost and where it ended.

    Attributes:
        loss: Mean loss over the last hundred steps.
        steps: Optimizer steps taken.
        core_seconds: Processor time, in seconds.
    """

    loss: float
    steps: int
    core_seconds: float


def to_pixels(images: NDArray[np.uint8]) -> Tensor:
    """Turn gray images (count, 28, 28) of uint8 into float32 (count, 3, 32, 32) from -1 to 1, padded with black."""
    gray = torch.from_numpy(pad(images)).float().div(127.5).sub(1.0)
    return gray.unsqueeze(1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def train_autoencoder(autoencoder: Autoencoder, data: LabelledImages, recipe: Recipe) -> Outcome:
    """Train the autoencoder in place, to the sum of absolute error, squared error and weighted divergence.

    Args:
        autoencoder: The untrained autoencoder.
        data: The images to learn.
        recipe: Epochs, batch size and learning rate.

    Returns:
        Loss and cost.
    """
    autoencoder.to(memory_format=torch.channels_last).train()
    batches_per_epoch = len(data) // recipe.autoencoder_batch
    steps = recipe.autoencoder_epochs * batches_per_epoch
    optimizer = torch.optim.AdamW(autoencoder.parameters(), lr=recipe.autoencoder_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=recipe.autoencoder_rate, total_steps=steps)
    meter = Meter("autoencoder", steps * recipe.autoencoder_batch)
    losses: list[float] = []
    for _ in range(recipe.autoencoder_epochs):
        order = torch.randperm(len(data)).numpy()
        for start in range(0, batches_per_epoch * recipe.autoencoder_batch, recipe.autoencoder_batch):
            pixels = to_pixels(data.images[order[start : start + recipe.autoencoder_batch]])
            distribution = autoencoder.encode(pixels).latent_dist
            restored = autoencoder.decode(distribution.sample()).sample
            divergence = 0.5 * (distribution.mean.square() + distribution.var - 1.0 - distribution.logvar).mean()
            loss = (
                functional.l1_loss(restored, pixels)
                + functional.mse_loss(restored, pixels)
                + recipe.divergence_weight * divergence
            )
            _step(loss, autoencoder.parameters(), optimizer, schedule)
            losses.append(loss.item())
            meter.advance(len(pixels), f"(loss {np.mean(losses[-50:]):.4f})")
    autoencoder.eval()
    return Outcome(float(np.mean(losses[-100:])), steps, meter.core_seconds)


@torch.no_grad()
def encode_images(autoencoder: Autoencoder, data: LabelledImages) -> tuple[Tensor, Tensor]:
    """Encode all images once, and set the autoencoder's scaling factor so that scaled latents have unit variance.

    Args:
        autoencoder: The trained autoencoder; its configuration is changed.
        data: The images to encode.

    Returns:
        Mean and standard deviation of the scaled latents, each float32 of shape (count, 4, 8, 8). Samples drawn from
        them anew in every step are what the denoiser learns from.
    """
    means: list[Tensor] = []
    deviations: list[Tensor] = []
    meter = Meter("encoding", len(data))
    for start in range(0, len(data), 250):
        distribution = autoencoder.encode(to_pixels(data.images[start : start + 250])).latent_dist
        means.append(distribution.mean)
        deviations.append(distribution.std)
        meter.advance(len(distribution.mean))
    mean, deviation = torch.cat(means), torch.cat(deviations)
    scale = float((mean.var() + deviation.square().mean()).rsqrt())
    autoencoder.register_to_config(scaling_factor=scale)
    return mean * scale, deviation * scale


def train_denoiser(
    pipeline: Pipeline,
    latents: tuple[Tensor, Tensor],
    labels: Tensor,
    captions: Sequence[str],
    recipe: Recipe,
) -> Outcome:
    """Train denoiser and text encoder in place to predict noise, and leave the moving average of their weights.

    Args:
        pipeline: A pipeline whose autoencoder is trained.
        latents: Mean and standard deviation of the scaled latents, each float32 of shape (count, 4, 8, 8).
        labels: Class of each image, int64 of shape (count,); it picks the caption.
        captions: One caption for each class.
        recipe: Steps, batch size, learning rate, caption drop and average.

    Returns:
        Loss and cost.
    """
    trained = nn.ModuleDict({"denoiser": pipeline.unet, "text_encoder": pipeline.text_encoder}).train()
    trained.to(memory_format=torch.channels_last)
    # Each step encodes the ten captions and the empty one once, and every image picks its row.
    tokens = pipeline.tokenizer(
        [*captions, ""], padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
    ).input_ids
    dropped = len(captions)
    noising: Scheduler = DDPMScheduler(**NOISE_SCHEDULE)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=recipe.denoiser_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warmup_and_cosine(step, recipe))
    average = {name: weight.detach().clone() for name, weight in trained.named_parameters()}
    meter = Meter("denoiser", recipe.denoiser_steps * recipe.denoiser_batch)
    losses: list[float] = []
    mean, deviation = latents
    for step in range(recipe.denoiser_steps):
        chosen = torch.randint(len(labels), (recipe.denoiser_batch,))
        sample = mean[chosen] + deviation[chosen] * torch.randn(mean[chosen].shape)
        noise = torch.randn(sample.shape)
        times = torch.randint(noising.config.num_train_timesteps, (recipe.denoiser_batch,))
        rows = torch.where(torch.rand(recipe.denoiser_batch) < recipe.caption_drop, dropped, labels[chosen])
        text = pipeline.text_encoder(tokens)[0][rows]
        noisy = noising.add_noise(sample, noise, times).contiguous(memory_format=torch.channels_last)
        loss = functional.mse_loss(pipeline.unet(noisy, times, text).sample, noise)
        _step(loss, trained.parameters(), optimizer, schedule)
        _update_average(average, trained, step, recipe.average_decay)
        losses.append(loss.item())
        meter.advance(recipe.denoiser_batch, f"(loss {np.mean(losses[-50:]):.4f})")
    with torch.no_grad():
        for name, weight in trained.named_parameters():
            weight.copy_(average[name])
    trained.eval()
    return Outcome(float(np.mean(losses[-100:])), recipe.denoiser_steps, meter.core_seconds)


def _step(
    loss: Tensor,
    parameters: Iterator[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    """Take one optimizer step, with the gradient clipped to norm 1."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    schedule.step()


def _warmup_and_cosine(step: int, recipe: Recipe) -> float:
    """Share of the peak learning rate at a step: linear rise, then half a cosine down to zero at the last step."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    progress = (step - recipe.warmup_steps) / (recipe.denoiser_steps - recipe.warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


@torch.no_grad()
def _update_average(average: dict[str, Tensor], module: nn.Module, step: int, decay: float) -> None:
    """Move the average towards the current weights, faster in the first steps, when it is still the initial weights."""
    decay = min(decay, (1 + step) / (10 + step))
    for name, weight in module.named_parameters():
        average[name].lerp_(weight.detach(), 1.0 - decay)
