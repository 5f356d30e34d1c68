"""Writes the model card from what was measured; measures nothing itself."""

import numpy as np
from numpy.typing import NDArray

from models.scene_clip_encoder import IMAGE_THRESHOLD, TEXT_THRESHOLD
from models.scene_clip_training.evaluation import QUANTILES, Measures, Retrieval, reach, visible_edits
from models.scene_clip_training.export import TrainingFacts
from models.scene_critic import CAPTION_MATCH

_CARD = """---
license: apache-2.0
library_name: open_clip
tags: [clip, onnx, procedural-drawings]
language: en
---

# scene-clip

A small CLIP that embeds drawings of interlake's procedural painter and their captions in one space of 256 numbers.
The embedded profile finds near-duplicates with it. An open_clip architecture: a vision transformer (96 pixels, patches
of 12, width 192, 4 layers) and a causal text transformer (77 tokens of a vocabulary of 8,192, width 128, 2 layers),
{parameters:,} parameters, stored once, as float16: the ONNX graphs hold no weights, each of their tensors is a piece of
`open_clip_model.safetensors`.

    open_clip.create_model_and_transforms("local-dir:models/scene_clip")   # or, without torch:
    models.scene_clip_encoder.SceneClip().embed_text("Two red boats on a lake")

## Data and licence

Captions are the project's own, put together by `models/scene_clip_training`; no text or picture of anybody was
collected. The vocabulary was trained on those captions and on the word list of open_clip's tokenizer (MIT). Pictures
were rendered from drawings of OpenMoji (openmoji.org), which are CC BY-SA 4.0.

The weights are given under Apache-2.0: they hold numbers that tell drawings apart, and no drawing. Whether weights are
an adaptation of what they were trained on is an open question; who holds that they are would have to treat these as
CC BY-SA 4.0, with credit to OpenMoji. The credit is given here in either case, and pictures that the painter draws stay
CC BY-SA 4.0 whatever these weights are.

## Training

`make train-clip` (`python -m models.scene_clip_training --out models/scene_clip`): seed {seed}, {scenes:,} scenes in
{families:,} families of a scene and its twin with one change, four captions each; {steps} steps of {batch} scenes,
float32, AdamW at {rate}. One drawing in ten, chosen by a hash of its code point, was never shown. Equal seeds give
equal scenes and captions; the weights repeat on the same machine with the same versions and threads. For the
committed ones the scenes took 9 minutes and the steps 32, on two cores (AVX2) that did other work too.

## Found among {among} (chance: {chance1:.1%} at 1, {chance5:.1%} at 5)

| new scenes | picture for a caption, at 1 | at 5 | caption for a picture, at 1 | at 5 |
|---|---|---|---|---|
{retrieval}

Scenes of drawings that training never saw are told apart by place, light, count and colour, and by words that their
names share with others.

## Similarities

Cosines at the quantiles {quantiles} %, of {pairs} scenes painted at 512 pixels; captions of edits keep the same
sentence where they can.

| compared with | pictures | captions |
|---|---|---|
{similarities}

| | cosines |
|---|---|
| a picture and its mirror image | {mirrored} |
| a picture and the same scene painted at 160 pixels | {sizes} |
| a picture and its caption | {matched} |
| a picture and another scene's caption | {mismatched} |

## Thresholds

Near-duplicate means: a reader would say that it is the same picture, or the same caption, again. Pictures at or above
{image_threshold}, captions at or above {text_threshold} (`IMAGE_THRESHOLD`, `TEXT_THRESHOLD`) count as the same.
Shares of pairs that reach them:

| pairs | picture | caption | both |
|---|---|---|---|
{thresholds}

A mirrored or rearranged scene of the same things counts as the same; so may one that differs only in a small thing, a
count or a side. Use the policy `both`.

The image critic takes a caption that has a cosine of {match} or more with its picture (`CAPTION_MATCH` of
`models/scene_critic.py`) as fitting although words around the drawn things are not on it: {match_right:.1%} of
the pictures reach that with their own captions, {match_wrong:.1%} with another scene's. It uses no lower bound: of 39
captions that SmolLM2 wrote, the rules about things and words let 11 pass, and all but one of those reach it too.

## Limits

Drawings of this painter only: it has never seen a photograph, another style, or a language other than English. Pictures
are squeezed into a square of 96 pixels, so small things and high counts blur. Of a text the first 76 tokens are read
(about 50 words), case and spacing count for nothing, and words it never met are guessed from their pieces. Texts are
cleaned as open_clip does (HTML entities, quotes, widths) but for text that was decoded wrongly, which open_clip repairs
and the ONNX side does not.
"""


def write_card(measures: Measures, trained: TrainingFacts) -> str:
    """The card as Markdown."""
    among = measures.seen.among
    return _CARD.format(
        parameters=trained.parameters, seed=trained.seed, scenes=2 * trained.families, families=trained.families,
        steps=trained.steps, batch=trained.batch, rate=trained.rate, among=among, chance1=1 / among, chance5=5 / among,
        retrieval=_retrieval("of seen drawings", measures.seen) + "\n"
        + _retrieval("of drawings never seen in training", measures.unseen),
        quantiles=", ".join(str(each) for each in QUANTILES), pairs=len(measures.mirrored),
        similarities=_similarities(measures),
        mirrored=_quantiles(measures.mirrored), sizes=_quantiles(measures.sizes), matched=_quantiles(measures.matched),
        mismatched=_quantiles(measures.mismatched), image_threshold=IMAGE_THRESHOLD, text_threshold=TEXT_THRESHOLD,
        thresholds=_thresholds(measures), match=CAPTION_MATCH,
        match_right=float((measures.matched >= CAPTION_MATCH).mean()),
        match_wrong=float((measures.mismatched >= CAPTION_MATCH).mean()),
    )  # fmt: skip


def _retrieval(name: str, found: Retrieval) -> str:
    shares = (*found.image_of_text, *found.text_of_image)
    return f"| {name} | " + " | ".join(f"{share:.1%}" for share in shares) + " |"


def _similarities(measures: Measures) -> str:
    return "\n".join(
        f"| {kind} ({len(pairs.images)}) | {_quantiles(pairs.images)} | {_quantiles(pairs.texts)} |"
        for kind, pairs in measures.pairs.items()
    )


def _thresholds(measures: Measures) -> str:
    rows = measures.pairs | {"all edits that can be seen": visible_edits(measures)}
    return "\n".join(
        f"| {kind} | " + " | ".join(f"{share:.1%}" for share in reach(pairs, IMAGE_THRESHOLD, TEXT_THRESHOLD)) + " |"
        for kind, pairs in rows.items()
    )


def _quantiles(values: NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.3f}" for value in np.percentile(values, QUANTILES))
