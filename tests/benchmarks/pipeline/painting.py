"""What the stand-ins for painter and encoder take of the processor, since nothing is free."""

import asyncio
import time

from models.drawing import DrawRequest
from models.embedding import EmbedRequest
from models.fakes import FakeEncoder, FakePainter
from models.picture import Picture
from tests.benchmarks.pipeline.builds import SIDE

OFTEN = 200


def price_of_stand_ins() -> str:
    """A sentence with the microseconds that a picture and a vector take."""
    drawn, embedded = asyncio.run(_measure())
    return f"a picture of the stand-in takes {1e6 * drawn:.0f} us of the processor, a vector {1e6 * embedded:.0f} us"


async def _measure() -> tuple[float, float]:
    painter, encoder = FakePainter(), FakeEncoder()
    who, whom = painter.identity, encoder.identity
    pictures: list[Picture] = []
    since = time.process_time()
    for number in range(OFTEN):
        request = DrawRequest(
            model=who.name, revision=who.revision, caption=f"A picture {number}.",
            width=SIDE, height=SIDE, steps=0, guidance=0.0, seed=number,
        )  # fmt: skip
        pictures.append((await painter.draw(request)).picture)
    drawn = time.process_time() - since
    since = time.process_time()
    for picture in pictures:
        await encoder.embed(EmbedRequest(model=whom.name, revision=whom.revision, subject=picture))
    return drawn / OFTEN, (time.process_time() - since) / OFTEN
