"""What one version adds to the turns that later ones are compared with, read from its own packages alone."""

from collections.abc import Iterator

from storage.embeddings import embedded_turns, read_standing
from storage.kept_rows import KeptVectors
from storage.lake import Lake
from storage.turn_rows import decided_samples, find_vectors, made_in, shown_turns
from storage.versions import Version


def new_keepers(lake: Lake, version: Version) -> list[KeptVectors] | None:
    """The unflagged turns of the samples that this very version made and kept, by sample id and turn.

    None when it decides about samples of earlier versions as well: then whose vectors count must be asked of the table.
    """
    states = decided_samples(lake, version)
    if not states.keys() <= made_in(lake, version):
        return None
    kept = {sample_id: state for sample_id, state in states.items() if state.kept}
    turns = [turn for turn in shown_turns(lake, version, kept) if not turn.flagged] if kept else []
    vectors = find_vectors(lake, version, [turn.vectors for turn in turns])
    return [
        KeptVectors(
            sample_id=turn.row.sample_id,
            turn=turn.row.turn,
            version=turn.version,
            encoder=turn.vectors.encoder,
            image=vectors[turn.vectors.image_vector_sha256, turn.vectors.encoder],
            text=vectors[turn.vectors.text_vector_sha256, turn.vectors.encoder],
        )
        for turn in turns
    ]


def all_keepers(lake: Lake, version: Version) -> Iterator[KeptVectors]:
    """The unflagged turns of all kept samples by version, sample id and turn, read from the packages alone.

    LakeDamaged when a vector is nowhere; what decisions rest on several encoders comes encoder by encoder.
    """
    standing = read_standing(lake, version)
    kept = [sample_id for sample_id, is_kept in standing.kept.items() if is_kept]
    for encoder in sorted(standing.encoders):
        for turn in embedded_turns(lake, version, encoder, kept):
            if (turn.sample_id, turn.turn) not in standing.flagged:
                yield turn
