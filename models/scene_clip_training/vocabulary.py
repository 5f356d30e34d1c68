"""Makes the tokenizer: a byte-level BPE, small because the captions of scenes need few words."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

CONTEXT = 77  # tokens, the end mark among them
TOKENS = 8192
SPECIAL = ("<pad>", "<eos>")
PAD, EOS = 0, 1
_ENGLISH_WORDS = 16_000
_ENGLISH_WEIGHT = 4_000  # how often the commonest English word counts; the n-th counts an n-th of it, at least once


def train_tokenizer(captions: Iterable[str]) -> Tokenizer:
    """A tokenizer for captions that also knows the pieces of common English words.

    Its normalizer undoes what writers and open_clip's cleaning differ in: case, widths, quotes, control characters.
    """
    tokenizer = Tokenizer(BPE())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex("[\u2018\u2019\u201a\u201b]"), "'"),
            normalizers.Replace(Regex("[\u201c\u201d\u201e\u201f]"), '"'),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Replace(Regex(r"\p{Cc}"), ""),
            normalizers.Lowercase(),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=TOKENS,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(captions), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {SPECIAL[EOS]}", special_tokens=[(SPECIAL[EOS], EOS)]
    )
    tokenizer.enable_truncation(CONTEXT)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json`; open_clip finds the class and the marks in `tokenizer_config.json`."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = (
        f'{{\n  "tokenizer_class": "PreTrainedTokenizerFast",\n  "model_max_length": {CONTEXT},\n'
        f'  "pad_token": "{SPECIAL[PAD]}",\n  "eos_token": "{SPECIAL[EOS]}"\n}}\n'
    )
    (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")


def _texts(captions: Iterable[str]) -> Iterator[str]:
    yield from captions
    pieces = SimpleTokenizer().encoder
    words = [piece.removesuffix("</w>") for piece in pieces if re.fullmatch(r"[a-z]+</w>", piece)]
    for rank, word in enumerate(words[:_ENGLISH_WORDS], start=1):
        yield " ".join([word] * max(1, _ENGLISH_WEIGHT // rank))
