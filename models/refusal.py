"""The one refusal that every adapter shares: a request for a model that it is not."""

from models.errors import TerminalError
from models.identity import ModelIdentity


def refuse_another_model(model: str, revision: str, identity: ModelIdentity) -> None:
    """TerminalError unless `model` and `revision` are those of `identity`."""
    if (model, revision) != (identity.name, identity.revision):
        raise TerminalError(
            f"asked for {model} {revision}, but this is {identity.name} {identity.revision}; "
            "choose that in the settings, or run the model that was asked for"
        )
