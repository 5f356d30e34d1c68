"""Makes real diffusers pipelines of a few thousand random weights, saved into folders: no hub, the same every time."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from models.diffusers_painter import DiffusersPainter, PipelineSite
from models.weights import Weights

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
CLIP_PLACES = 77  # tokens that CLIP's text encoder reads, first and last mark included
ACROSS = 8  # pixels a side of one latent value: four blocks, each but one of half the size


def make_tiny_pixart(folder: Path) -> Path:
    """PixArt-Sigma: any size (drawn at the nearest of its own and resized), an old callback, prompts of 300 tokens."""
    torch.manual_seed(1)
    tokenizer = letter_tokenizer()
    pipeline = PixArtSigmaPipeline(
        transformer=PixArtTransformer2DModel(
            sample_size=32, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2, in_channels=4,
            out_channels=8, caption_channels=16, cross_attention_dim=16, use_additional_conditions=False,
        ),
        vae=tiny_decoder(latent_channels=4),
        text_encoder=tiny_t5(len(tokenizer)),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(),
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def make_tiny_flux(folder: Path) -> Path:
    """FLUX: rounds sizes down to multiples of 16 pixels without an error; can be stopped between two steps."""
    torch.manual_seed(2)
    letters, words = letter_tokenizer(), clip_tokenizer()
    pipeline = FluxPipeline(
        transformer=FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
        ),
        vae=tiny_decoder(latent_channels=4, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=tiny_clip_text(len(words)),
        tokenizer=words,
        text_encoder_2=tiny_t5(len(letters)),
        tokenizer_2=letters,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


def make_tiny_stable_diffusion(folder: Path, *, flags_all: bool = False) -> Path:
    """Stable Diffusion 1: sizes in multiples of 8, prompts of 77 tokens, a safety checker that flags all or none."""
    torch.manual_seed(3)
    words = clip_tokenizer()
    pipeline = StableDiffusionPipeline(
        unet=UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, block_out_channels=(4, 8), layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), norm_num_groups=2,
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=16, attention_head_dim=2,
        ),
        vae=tiny_decoder(latent_channels=4),
        text_encoder=tiny_clip_text(len(words)),
        tokenizer=words,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=tiny_flagger() if flags_all else None,
        feature_extractor=CLIPImageProcessor(size=32, crop_size=32) if flags_all else None,
        requires_safety_checker=flags_all,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder


TINY_PIPELINES: Mapping[str, Callable[[Path], Path]] = {
    "pixart": make_tiny_pixart,
    "flux": make_tiny_flux,
    "stable diffusion": make_tiny_stable_diffusion,
}


def contracted_painter() -> DiffusersPainter:
    """A painter over the tiny FLUX that holds to the adapters' contract: it draws one at a time."""
    return DiffusersPainter(
        Weights(name="tiny-flux", revision="sha256:0", folder=tiny_flux_folder(), sha256="0", licence="Apache-2.0"),
        site=PipelineSite(device="cpu", offload="none", batch=1, window=0.0),
    )


@functools.cache
def tiny_flux_folder() -> Path:
    """A folder with the tiny FLUX, one for the whole process and gone when it ends."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-flux-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make_tiny_flux(folder)


def tiny_decoder(*, latent_channels: int, **extras: float | bool) -> AutoencoderKL:
    blocks = 4
    return AutoencoderKL(
        block_out_channels=(4,) * blocks, layers_per_block=1, latent_channels=latent_channels, norm_num_groups=1,
        down_block_types=("DownEncoderBlock2D",) * blocks, up_block_types=("UpDecoderBlock2D",) * blocks,
        mid_block_add_attention=False, sample_size=128, **extras,
    )  # fmt: skip


def tiny_t5(tokens: int) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=tokens, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))


def tiny_clip_text(tokens: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            projection_dim=16, max_position_embeddings=CLIP_PLACES, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip


def tiny_flagger() -> StableDiffusionSafetyChecker:
    """A safety checker whose thresholds lie below any cosine, so that it flags every picture."""
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        projection_dim=8, vision_config=small | {"image_size": 32, "patch_size": 16}, text_config=small,
    )  # fmt: skip
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data.fill_(-2.0)
    return checker


def letter_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer that knows a token for each letter and digit."""
    pieces: Sequence[tuple[str, float]] = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*pieces, *((letter, -3.0) for letter in LETTERS)], extra_ids=0, model_max_length=512)


def clip_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that knows a token for each letter and digit, within a word and at its end."""
    marks = {"<|startoftext|>": 0, "<|endoftext|>": 1}
    letters = [letter + ending for letter in LETTERS + ".," for ending in ("", "</w>")]
    vocabulary = marks | {letter: place for place, letter in enumerate(letters, start=len(marks))}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=CLIP_PLACES)
