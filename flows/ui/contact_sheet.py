"""Pictures side by side on one small JPEG, numbered; knows nothing of lakes and pages."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

COLUMNS = 4
SIDE = 200
"""Pixels of a cell's side; a picture keeps its shape within."""
QUALITIES = (80, 60, 40, 20)
GROUND, INK = (255, 255, 255), (30, 30, 30)
NUMBER = 18


def contact_sheet(pictures: Sequence[bytes], *, most_bytes: int) -> bytes | None:
    """A JPEG of at most so many bytes with the pictures in rows, numbered from 1; None of none, or where none fits."""
    if not pictures:
        return None
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (SIDE * min(COLUMNS, len(pictures)), SIDE * rows), GROUND)
    for at, data in enumerate(pictures):
        sheet.paste(_cell(data, at + 1), (SIDE * (at % COLUMNS), SIDE * (at // COLUMNS)))
    return next((found for found in (_jpeg(sheet, quality) for quality in QUALITIES) if len(found) <= most_bytes), None)


def _cell(data: bytes, number: int) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        cell = ImageOps.pad(picture.convert("RGB"), (SIDE - 4, SIDE - 4), color=GROUND)
    drawing, label = ImageDraw.Draw(cell), str(number)
    drawing.rectangle((0, 0, 8 + 10 * len(label), NUMBER + 4), fill=GROUND)
    drawing.text((4, 1), label, fill=INK, font=ImageFont.load_default(NUMBER))
    return cell


def _jpeg(sheet: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
