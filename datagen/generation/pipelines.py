"""Loads the pipelines of `diffusers` that draw data sets: local files, safetensors and known classes only."""

from __future__ import annotations

import functools
from typing import Any

import diffusers
import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from datagen.core.device import precision_on
from datagen.core.errors import InputError
from datagen.core.wording import one_line
from datagen.datasets.spec import DiffusionDataset, OracleDataset
from datagen.generation.pipeline_folders import DENOISERS, adapter_file, check_weights, weights_variant
from datagen.generation.variants import keep_in_float8

WITH_SAFETY_CHECKER = (
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "LatentConsistencyModelPipeline",
)
PACKED = ("FluxPipeline",)
"""They take the latent's pixels in squares of 2, whatever their denoiser's configuration says."""
WORTH_COMPILING = 200_000
"""Steps of the denoiser: 25 minutes of an A100 at 130 a second, of which compiled ones save 9."""
_SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "pndm": "PNDMScheduler",
    "dpmsolver++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "lcm": "LCMScheduler",
}


def load_pipeline(spec: DiffusionDataset, device: torch.device) -> Any:
    """The pipeline of a data set on `device`, with its LoRA fused in and its scheduler in place.

    The safety checker is off: it replaces pictures it suspects by black ones, which would poison a data set unseen.
    So is SDXL's invisible watermark.

    Raises:
        InputError: the folder is missing, incomplete, of a class that does not fit, or pickled; or settings do not fit.
    """
    class_name = check_weights(spec)
    if isinstance(spec, OracleDataset) and spec.method == "image_to_image":
        class_name = "StableDiffusionImg2ImgPipeline"
        if int(spec.steps * spec.strength) < 1:
            raise InputError(f"strength={spec.strength:g} of {spec.steps} steps leaves none. Raise one of them.")
    _be_quiet()
    dtype = getattr(torch, precision_on(device, spec.precision))
    options: dict[str, Any] = {}
    if class_name.startswith("StableDiffusionXL"):
        options["add_watermarker"] = False
    elif class_name in WITH_SAFETY_CHECKER:
        options |= {"safety_checker": None, "requires_safety_checker": False}
    try:
        pipeline = getattr(diffusers, class_name).from_pretrained(
            spec.pipeline_folder,
            dtype=dtype,
            variant=weights_variant(spec.pipeline_folder),
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            low_cpu_mem_usage=False,
            **options,
        )
        _fuse_adapter(pipeline, spec)
    except InputError:
        raise
    except Exception as error:  # damaged files raise nearly anything, safetensors' own errors included
        raise InputError(
            f"The diffusion pipeline in {spec.pipeline_folder} cannot be loaded: {one_line(error)}"
        ) from error
    denoiser = denoiser_of(pipeline)
    _check_settings(spec, pipeline)
    if spec.scheduler != "pipeline":
        pipeline.scheduler = getattr(diffusers, _SCHEDULERS[spec.scheduler]).from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    if device.type == "cuda":
        # Convolutions of half-precision images are faster with channels last (anchors: 1.354 to 1.058 s an image).
        if hasattr(pipeline, "unet"):
            denoiser.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
        look_up_on_the_host(pipeline.scheduler)
    if spec.denoiser_weights == "float8":
        keep_in_float8(denoiser, dtype)
    if compiles(spec, device):
        # The forward pass alone: a hook that counts steps would be compiled anew at each.
        denoiser.forward = torch.compile(denoiser.forward)
        pipeline.vae.decoder.forward = torch.compile(pipeline.vae.decoder.forward)
    return pipeline


def compiles(spec: DiffusionDataset, device: torch.device) -> bool:
    """Whether denoiser and decoder are compiled: as the spec says, else on a GPU where it pays for the set's size.

    Compiling takes a minute or two for each actor; an A100 then draws half as fast again (diffusers' own figures:
    130 to 200 steps a second).
    """
    if spec.compile is not None:
        return spec.compile
    return device.type == "cuda" and spec.denoiser_weights != "float8" and spec.work >= WORTH_COMPILING


def denoiser_of(pipeline: Any) -> Any:
    """The network of a pipeline that denoises.

    Raises:
        InputError: it has none that is known by its name.
    """
    found = [part for name in DENOISERS if (part := getattr(pipeline, name, None)) is not None]
    if not found:
        raise InputError(
            f"A {type(pipeline).__name__} has no part called {' or '.join(DENOISERS)}, so it cannot be used."
        )
    return found[0]


def look_up_on_the_host(scheduler: Any) -> None:
    """Has a scheduler take its timesteps from a copy in the host's memory, so that no step waits for the GPU.

    PNDM and DDIM look up tables there by a timestep that lies on the GPU, which makes the host wait for the denoiser
    two or three times a step; the denoiser still gets the GPU's. Other schedulers look up their place once a batch.
    """
    if not isinstance(scheduler, diffusers.PNDMScheduler | diffusers.DDIMScheduler):
        return
    set_timesteps, step = scheduler.set_timesteps, scheduler.step
    copies: dict[int, torch.Tensor] = {}

    @functools.wraps(set_timesteps)
    def set_and_copy(*arguments: Any, **options: Any) -> None:
        set_timesteps(*arguments, **options)
        copies.clear()
        copies[scheduler.timesteps.untyped_storage().data_ptr()] = scheduler.timesteps.cpu().clone()

    @functools.wraps(step)  # Pipelines look at the parameters to see what it takes.
    def step_by_copy(model_output: torch.Tensor, timestep: Any, *arguments: Any, **options: Any) -> Any:
        # A pipeline hands out views of `timesteps`; where one lies among them is known without a look at the GPU.
        copy = copies.get(timestep.untyped_storage().data_ptr()) if isinstance(timestep, torch.Tensor) else None
        known = timestep if copy is None else copy[timestep.storage_offset()]
        return step(model_output, known, *arguments, **options)

    scheduler.set_timesteps, scheduler.step = set_and_copy, step_by_copy


def _fuse_adapter(pipeline: Any, spec: DiffusionDataset) -> None:
    if spec.adapter_folder is None:
        return
    path = adapter_file(spec.adapter_folder)
    try:
        pipeline.load_lora_weights(
            spec.adapter_folder, weight_name=path.name, use_safetensors=True, local_files_only=True
        )
        if not pipeline.get_active_adapters():
            raise ValueError("none of its weights fit the pipeline")
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()  # Fused: what is left would only cost time.
    except Exception as error:
        raise InputError(f"The LoRA {path} cannot be used with {spec.pipeline_folder}: {one_line(error)}") from error


def _check_settings(spec: DiffusionDataset, pipeline: Any) -> None:
    denoiser, class_name = denoiser_of(pipeline), type(pipeline).__name__
    scale = int(getattr(pipeline, "vae_scale_factor", 8))
    # Transformers take the latent's pixels in squares.
    patch = 2 if class_name in PACKED else int(getattr(denoiser.config, "patch_size", None) or 1)
    unit = 8 if hasattr(pipeline, "unet") else scale * patch
    if spec.width % unit or spec.height % unit:
        raise InputError(f"width and height must be multiples of {unit}, not {spec.width} and {spec.height}.")
    if spec.deepcache_interval > 1 and not hasattr(pipeline, "unet"):
        raise InputError(f"deepcache_interval needs a denoiser that is a UNet, which a {class_name} has not. Give 1.")
    flows = type(pipeline.scheduler).__name__.startswith("FlowMatch")
    if spec.scheduler != "pipeline" and flows:
        raise InputError(
            f"scheduler={spec.scheduler} does not go with a {class_name}, which matches flows. Give pipeline."
        )
    levels = spec.steps
    trained = int(pipeline.scheduler.config.num_train_timesteps)
    if levels > trained:
        raise InputError(f"steps must be at most {trained}, the pipeline's schedule, not {levels}.")
    if isinstance(spec, OracleDataset) and spec.method == "unclip":
        highest = int(pipeline.image_noising_scheduler.config.num_train_timesteps) - 1
        if spec.noise_level > highest:
            raise InputError(f"noise_level must be at most {highest} with this pipeline, not {spec.noise_level}.")


def _be_quiet() -> None:
    diffusers_logging.set_verbosity_error()
    diffusers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
