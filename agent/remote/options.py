"""The settings of a remote language model."""

import re
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_ADDRESS = re.compile(r"https?://(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?(?:/[\w.~-]+)*/?")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*_(KEY|TOKEN|SECRET)")
_SAYS_KEY = re.compile(r"key|token|secret|password|authorization|headers?", re.IGNORECASE)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MILLION = 1_000_000
NO_KEY = "the key may stand in no setting: put it into the environment variable that key_env names"


class RemoteSettings(BaseModel):
    """A language model behind an OpenAI-compatible endpoint, what it is used for, and what that may cost."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = Field("", description="the endpoint, such as http://localhost:8000/v1; empty: there is none")
    model: str = Field("", description="what the endpoint calls the model")
    key_env: str = Field(
        "OPENAI_API_KEY", description="the environment variable that holds the key; empty: the endpoint needs none"
    )
    writer: bool = Field(False, description="whether it words explanations")
    intent: bool = Field(False, description="whether it reads what is said in chat")
    ranker: bool = Field(
        False, description="whether it ranks and teaches, where whyrec finetune ranker --lists 0 has proven it"
    )
    timeout: float = Field(30.0, gt=0, le=3600, description="seconds that one try may take")
    limit: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the endpoint calls the most tokens of an answer; some know the second alone"
    )
    retries: int = Field(
        2,
        ge=0,
        le=10,
        description="tries after the first that failed, each after a longer pause; where "
        "the server asks for one above 30 s there are none",
    )
    most_tokens: int = Field(
        _MILLION, ge=1, description="tokens, read and written, after which it is asked no more; whyrec doctor counts"
    )
    most_cost: float = Field(0.0, ge=0, description="money after which it is asked no more; 0: tokens alone count")
    price_read: float = Field(0.0, ge=0, description="price of a million tokens that it reads")
    price_written: float = Field(0.0, ge=0, description="price of a million tokens that it writes")
    downgrade: bool = Field(
        True, description="whether the local model takes its place, with a note, where it fails; false: an error"
    )
    proof: str = Field("auto", description="auto: what proved the ranker in the workspace; or a folder with proofs")
    spending: str = Field("auto", description="auto: what was spent is counted in the workspace; or a file to share")

    @model_validator(mode="before")
    @classmethod
    def _refuse_keys(cls, values: Any) -> Any:
        unknown = set(values) - set(cls.model_fields) if isinstance(values, dict) else ()
        if any(_SAYS_KEY.search(str(name)) for name in unknown):
            raise ValueError(NO_KEY)
        return values

    @field_validator("key_env")
    @classmethod
    def _check_variable(cls, name: str) -> str:
        if name and not _VARIABLE.fullmatch(name):
            raise ValueError(f"it is the name of a variable in capitals that ends in _KEY, _TOKEN or _SECRET; {NO_KEY}")
        return name

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if url and not _ADDRESS.fullmatch(url):
            raise ValueError("it is http://HOST:PORT/v1 or https://HOST/v1, without user, password or query")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.used and not (self.base_url and self.model):
            raise ValueError("base_url and model must be set where writer, intent or ranker is true")
        if self.key_env and self.base_url.startswith("http://") and not self.is_here:
            raise ValueError(
                'http:// would send the key in the clear: use https://, or key_env = "" where none is needed'
            )
        if self.most_cost and not (self.price_read or self.price_written):
            raise ValueError("most_cost needs price_read and price_written, as no endpoint tells its prices")
        return self

    @property
    def used(self) -> tuple[str, ...]:
        """What it is used for."""
        return tuple(name for name in ("writer", "intent", "ranker") if getattr(self, name))

    @property
    def is_here(self) -> bool:
        """Whether the endpoint is on this machine."""
        return urlsplit(self.base_url).hostname in _LOOPBACK

    @property
    def name(self) -> str:
        """The model and where it is, as people are told."""
        return f"{self.model} at {urlsplit(self.base_url).netloc}"

    def cost(self, read: int, written: int) -> float:
        """What so many tokens cost."""
        return (read * self.price_read + written * self.price_written) / _MILLION
