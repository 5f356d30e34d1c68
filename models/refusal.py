"""The refusals that adapters share: a request for a model that they are not, or for what they cannot tell."""

from models.errors import TerminalError
from models.identity import ModelIdentity


def refuse_another_model(model: str, revision: str, identity: ModelIdentity) -> None:
    """TerminalError unless `model` and `revision` are those of `identity`."""
    if (model, revision) != (identity.name, identity.revision):
        raise TerminalError(
            f"asked for {model} {revision}, but this is {identity.name} {identity.revision}; "
            "choose that in the settings, or run the model that was asked for"
        )


def refuse_logprobs(top_logprobs: int | None, identity: ModelIdentity) -> None:
    """TerminalError where log-probabilities are asked of an adapter that has none."""
    if top_logprobs is not None:
        raise TerminalError(
            f"{identity.name} runs in a way that tells no log-probabilities: ask it behind a server that gives them, "
            "or leave expected_value out of the settings"
        )
