"""Pictures by their hash, whole or small. What is served is a PNG or WebP file, whatever a model may have made."""

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Callable

from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from flows.gallery.snapshot import Shelf, Snapshot
from storage.errors import LakeError
from storage.records import ImageRow
from storage.tables import find_holdings

HASH = re.compile(r"[0-9a-f]{64}")
TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"RIFF": "image/webp"}
SIDE = 320
"""Pixels of the longer side of a small picture."""
QUALITY = 82
MOST_PIXELS = 64_000_000
CACHE_BYTES = 24 << 20
FOR_GOOD = {"cache-control": "private, max-age=31536000, immutable"}


class Thumbnails:
    """Small pictures by hash: the latest used ones, of at most so many bytes in all. For several threads."""

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most = most_bytes
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._size

    def get(self, sha256: str, read: Callable[[], bytes]) -> bytes:
        """The small picture; `read` gives the whole one where it is not held."""
        with self._lock:
            if sha256 in self._held:
                self._held.move_to_end(sha256)
                return self._held[sha256]
        small = shrink(read())
        with self._lock:
            if sha256 not in self._held:
                self._held[sha256] = small
                self._size += len(small)
            while self._size > self._most and self._held:
                self._size -= len(self._held.popitem(last=False)[1])
        return small


def shrink(data: bytes) -> bytes:
    """A picture as WebP of at most SIDE pixels; HTTPException for what is no picture, or too large a one."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "WEBP"]) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise HTTPException(404, "This picture is too large to be shown.")
            small = picture.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise HTTPException(404, "This picture cannot be shown.") from error
    small.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    small.save(file, "WEBP", quality=QUALITY, method=2)
    return file.getvalue()


def read_bytes(snapshot: Snapshot, sha256: str) -> bytes:
    """A picture's bytes; HTTPException where the lake has none of that hash."""
    found = snapshot.row("SELECT * FROM images WHERE image_sha256 = $sha256", {"sha256": sha256})
    if found is None:
        raise HTTPException(404, "The lake has no such picture.")
    lake, version = snapshot.lake, snapshot.version()
    entries = [entry for entry in version.packages if entry.name == found["package"]]
    image = ImageRow(**{name: found[name] for name in ImageRow.columns()})
    try:
        (holding,) = find_holdings(lake.packages, lake.path / "compact", entries)
        return holding.picture(image, found["package"])
    except (LakeError, OSError) as error:
        raise HTTPException(404, "This picture cannot be read; 'interlake fsck' says why.") from error


def routes(shelf: Shelf) -> list[Route]:
    """`/picture/HASH` and `/thumbnail/HASH`."""
    thumbnails = Thumbnails()

    def show(request: Request) -> Response:
        data = read_bytes(shelf.present(), _hash(request))
        kind = next((kind for head, kind in TYPES.items() if data.startswith(head)), None)
        if kind is None:
            raise HTTPException(404, "This picture is of a kind that is not shown.")
        return Response(data, media_type=kind, headers=FOR_GOOD)

    def show_small(request: Request) -> Response:
        sha256 = _hash(request)
        small = thumbnails.get(sha256, lambda: read_bytes(shelf.present(), sha256))
        return Response(small, media_type="image/webp", headers=FOR_GOOD)

    return [Route("/picture/{sha256}", show), Route("/thumbnail/{sha256}", show_small)]


def _hash(request: Request) -> str:
    sha256 = str(request.path_params["sha256"])
    if not HASH.fullmatch(sha256):
        raise HTTPException(404, "A picture is named by its hash.")
    return sha256
