"""Makes the environment of the server whole: torchvision's operators, and the models that it serves. Run once, by the
Python of that environment; knows nothing of interlake. Equal packages give equal files, byte for byte.

    .venv-vllm/bin/python tests/vllm_server/prepare.py GGUF FOLDER

writes FOLDER/smollm2 (the weights in the GGUF file, as safetensors) and FOLDER/tiny-viewer (a random vision model).
"""

import importlib
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

HOOK = "torchvision_operators"
SEED = 20261130

VIEWER_TOKENS = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
VIEWER_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'text' %}{{ part.text }}{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def main() -> None:
    """Make what is missing."""
    gguf, folder = Path(sys.argv[1]), Path(sys.argv[2])
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    install_hook(Path(sysconfig.get_path("purelib")))
    importlib.import_module(HOOK)  # this start of Python came too early for it
    folder.mkdir(parents=True, exist_ok=True)
    make_whole(folder / "smollm2", lambda part: convert_chat(gguf, part))
    make_whole(folder / "tiny-viewer", lambda part: make_viewer(folder / "smollm2", part))


def install_hook(packages: Path) -> None:
    """Have each start of this environment's Python import the hook."""
    shutil.copyfile(Path(__file__).with_name(f"{HOOK}.py"), packages / f"{HOOK}.py")
    (packages / f"{HOOK}.pth").write_text(f"import {HOOK}\n")


def make_whole(folder: Path, make: Callable[[Path], None]) -> None:
    """Have a folder made beside its place and moved there when it is whole; one that is there already stays."""
    if folder.exists():
        return
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    make(part)
    part.rename(folder)


def convert_chat(gguf: Path, folder: Path) -> None:
    """Write the model in a GGUF file as transformers keeps it, in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def make_viewer(tokens_of: Path, folder: Path) -> None:
    """Write a vision model with random weights, always the same, that uses the tokens of another model."""
    import torch
    from transformers import (
        AutoTokenizer,
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2_5_VLProcessor,
        Qwen2VLImageProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = AutoTokenizer.from_pretrained(tokens_of)
    tokenizer.add_special_tokens({"additional_special_tokens": list(VIEWER_TOKENS)})
    tokenizer.chat_template = VIEWER_TEMPLATE
    start, end, image, video = tokenizer.convert_tokens_to_ids(list(VIEWER_TOKENS))
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "tie_word_embeddings": False,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 64,
            "out_hidden_size": 64,
            "intermediate_size": 128,
            "num_heads": 2,
            "fullatt_block_indexes": [1],
        },
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
        tie_word_embeddings=False,
    )
    torch.manual_seed(SEED)
    model = Qwen2_5_VLForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(min_pixels=28 * 28, max_pixels=256 * 256),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=VIEWER_TEMPLATE,
    )
    processor.save_pretrained(folder)


if __name__ == "__main__":
    main()
