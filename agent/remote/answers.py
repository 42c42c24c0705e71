"""What an endpoint answers, read strictly: only the parts that whyrec uses, and none of another type."""

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class Usage(_Part):
    """Tokens that the model read and wrote."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)


class Function(_Part):
    """The tool that the model would call, and what with, as text that should be JSON."""

    name: str
    arguments: str


class ToolCall(_Part):
    """One call; a tool of another kind has no function."""

    function: Function | None = None


class Likely(_Part):
    """A token that might stand at a place, and the logarithm of its probability."""

    token: str
    logprob: float = Field(ge=-1e6, le=1e-3)  # rounding may take it above 0


class Place(_Part):
    """The likeliest tokens of one place."""

    top_logprobs: list[Likely] = []


class Logprobs(_Part):
    """Those of every place that was written."""

    content: list[Place] | None = None


class Message(_Part):
    """What the model says."""

    content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(_Part):
    """One answer."""

    message: Message
    logprobs: Logprobs | None = None


class Answer(_Part):
    """A completion."""

    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None

    @property
    def message(self) -> Message:
        """What the model says first."""
        return self.choices[0].message
