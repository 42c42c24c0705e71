"""Settings: defaults, then the workspace's whyrec.toml, then the environment, then the command line."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

import finetune
from agent.profile import PROFILE, LanguageModelPrecision, current_profile
from agent.remote.options import RemoteSettings
from agent.remote.spending import SPENDING
from retrieval.cf.rounding import TablePrecision
from retrieval.errors import WorkspaceError, command
from retrieval.text.options import ChromaOptions
from retrieval.versions import CURRENT

_ADDRESS = re.compile(r"https?://[\w.-]+:\d{1,5}")

ProfileName = Literal["default", "small"]
_OTHER = ("workspace", "mcp_token")  # variables WHYREC_… that are no settings
_MODELS = Path("models")  # in a workspace
TUNED, RANKER, REMOTE_RANKER = _MODELS / "encoder", _MODELS / "ranker", _MODELS / "remote-ranker"
ADAPTERS = {kind: _MODELS / kind for kind in ("writer", "intent")}
_PRETRAINED = Path(finetune.__file__).parent / "pretrained"  # `make pretrained` writes it
PACKAGED_RANKER = _PRETRAINED / "ranker"
PACKAGED_ADAPTERS = {kind: _PRETRAINED / kind for kind in ADAPTERS}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ItemSettings(_Section):
    """What the items are."""

    noun: str = Field("item", description="what an item is called in explanations, such as film or game")


class EventSettings(_Section):
    """How events are read."""

    liked_from: float = Field(1.0, description="an event of at least this value counts as liked; set by whyrec init")
    verb: Literal["liked", "chose"] = Field("liked", description="what such an event says; set by whyrec init")


class EncoderSettings(_Section):
    """The sentence encoder."""

    model: str = Field("minilm", description="minilm (packaged), a folder, or a Hugging Face id")
    tuned: str = Field(
        "off", description="off; on: what whyrec finetune encoder made stands beside it; or a folder of tuned encoders"
    )
    backend: Literal["torch", "onnx-int8"] = Field(
        "torch", description="what computes it; whyrec doctor --bench tells which is faster; the index depends on it"
    )


class FeatureSettings(_Section):
    """What hidden states of a transformer add to the items' vectors."""

    model: str = Field(
        "auto",
        description="auto: five layers of minilm where it is the encoder; off; smollm2 or gemma3-270m (packaged), "
        "a folder, a GGUF file, or a Hugging Face id",
    )
    layers: int = Field(10, ge=1, description="how many of its first layers are read (not of auto's)")


class ChromaSettings(_Section):
    """Where item vectors are kept and how they are searched."""

    url: str = Field(
        ChromaOptions.url, description="a Chroma server such as http://localhost:8000; empty: the workspace's folder"
    )
    ef_search: int = Field(
        ChromaOptions.ef_search,
        ge=1,
        le=10_000,
        description="how many candidates a search keeps; on a server another value takes whyrec index --rebuild",
    )
    ef_construction: int = Field(
        ChromaOptions.ef_construction,
        ge=1,
        le=10_000,
        description="how many are kept while an item is put into the graph; another value takes whyrec index --rebuild",
    )
    max_neighbors: int = Field(
        ChromaOptions.max_neighbors,
        ge=2,
        le=1_000,
        description="how many links an item has in the graph; another value takes whyrec index --rebuild",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if url and not _ADDRESS.fullmatch(url):
            raise ValueError("it is http://HOST:PORT or https://HOST:PORT, nothing after it, or empty")
        return url

    @property
    def options(self) -> ChromaOptions:
        """The same for the index."""
        return ChromaOptions(**self.model_dump())


class LanguageModelSettings(_Section):
    """The language model that ranks and writes."""

    model: str = Field("smollm2", description="smollm2 (packaged), a folder, a GGUF file, or a Hugging Face id")
    precision: LanguageModelPrecision = Field(
        "auto",
        description="auto: bfloat16 where the machine computes it, float32 elsewhere; int8: weights in eight bits, "
        "half the memory of bfloat16; 4bit: on a GPU alone",
    )
    layers: int | None = Field(
        None, ge=1, description="so many of its first layers alone, for which adapters are tuned anew; none: all"
    )
    writer: str = Field(
        "auto",
        description="auto: what whyrec finetune writer made, else the packaged one, which words explanations; off: the "
        "model as it came; or a folder with writers",
    )
    intent: str = Field(
        "auto",
        description="auto: what whyrec finetune intent made, else the packaged one, which reads what is said in chat; "
        "off: rules read it; or a folder with such adapters",
    )


class RankingSettings(_Section):
    """The stages after retrieval."""

    fusion: Literal["auto", "off", "single", "weighted", "cascade", "borda", "rrf", "stacked"] = Field(
        "auto", description="how scorers are put together; auto: what whyrec tune proved best; off: text alone"
    )
    ranker: str = Field(
        "auto",
        description="auto: what whyrec finetune ranker made, else the packaged one; off; or a folder with rankers",
    )
    candidates: int = Field(40, ge=1, le=1000, description="how many retrieved items the language model scores")


class RefreshSettings(_Section):
    """When whyrec refresh trains again, and what it lets serve."""

    psi: float = Field(
        0.25, ge=0, description="population stability index above which events have drifted; .25 and more is large"
    )
    fall: float = Field(
        0.1, ge=0, le=1, description="how much less than when it was made an artefact may reach, as a share of it"
    )
    tolerance: float = Field(
        0.01, ge=0, le=1, description="NDCG@10 that what is trained again may lose at most, with 95 % confidence"
    )
    held_out: float = Field(
        0.5, gt=0, lt=1, description="share of the new events, the newest, that old and new are measured on"
    )


class StudentSettings(_Section):
    """The student, which serves without a language model."""

    precision: TablePrecision = Field(
        "float32", description="of its tables on disk; whyrec compress makes those in float16 or int8"
    )


class Settings(BaseSettings):
    """All settings of a workspace."""

    model_config = SettingsConfigDict(
        env_prefix="WHYREC_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
        hide_input_in_errors=True,  # a key that was put where it does not belong
    )

    format_version: int = Field(1, description="format of the workspace; not to be changed by hand")
    device: str | None = Field(None, description="cpu, cuda, cuda:1 …; none: a GPU when there is one")
    profile: ProfileName = Field(
        "default", description="small: what whyrec compress chose takes the place of the precisions below"
    )
    cache: Path = Field(Path("~/.cache/whyrec"), description="where converted models are kept")
    items: ItemSettings = ItemSettings()
    events: EventSettings = EventSettings()
    encoder: EncoderSettings = EncoderSettings()
    features: FeatureSettings = FeatureSettings()
    chroma: ChromaSettings = ChromaSettings()
    language_model: LanguageModelSettings = LanguageModelSettings()
    ranking: RankingSettings = RankingSettings()
    student: StudentSettings = StudentSettings()
    refresh: RefreshSettings = RefreshSettings()
    remote: RemoteSettings = RemoteSettings()

    def with_ranker(self, folder: str) -> Self:
        """The same with the ranker in this folder, or with the proof of the remote one there, or with none (off)."""
        if self.remote.ranker and folder != "off":
            return self.model_copy(update={"remote": self.remote.model_copy(update={"proof": folder})})
        return self.model_copy(update={"ranking": self.ranking.model_copy(update={"ranker": folder})})

    def without_downgrade(self) -> Self:
        """The same; where the remote model fails, that is an error: what is measured must not change half-way."""
        return self.model_copy(update={"remote": self.remote.model_copy(update={"downgrade": False})})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env files
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - nor secret files
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line before environment before file (pydantic-settings' hook)."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(file: Path | None, profile: ProfileName | None = None) -> Settings:
    """Settings of the workspace whose whyrec.toml is ``file``; without one, defaults and the environment.

    profile: goes before what file and environment say.

    Raises:
        WorkspaceError: an unknown key or a value that does not fit; names it. Or there is no such profile.
    """

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    _refuse_unknown_variables()
    settings = _read(FromFile, file)
    if profile is not None:
        settings = settings.model_copy(update={"profile": profile})
    return settings if file is None else _placed(settings, file.parent)


def _placed(settings: Settings, root: Path) -> Settings:
    """With what is automatic found in the workspace at ``root``."""
    if settings.profile == "small":
        settings = _small(settings, root)
    encoder, ranking, lm, remote = settings.encoder, settings.ranking, settings.language_model, settings.remote
    if encoder.tuned == "on":
        encoder = encoder.model_copy(update={"tuned": str(root / TUNED)})
    if ranking.ranker == "auto":
        ranking = ranking.model_copy(update={"ranker": _own_or(root / RANKER, PACKAGED_RANKER)})
    for kind, own in ADAPTERS.items():
        if getattr(lm, kind) == "auto":
            lm = lm.model_copy(update={kind: _own_or(root / own, PACKAGED_ADAPTERS[kind])})
    if remote.proof == "auto":
        remote = remote.model_copy(update={"proof": str(root / REMOTE_RANKER)})
    if remote.spending == "auto":
        remote = remote.model_copy(update={"spending": str(root / SPENDING)})
    return settings.model_copy(update={"encoder": encoder, "ranking": ranking, "language_model": lm, "remote": remote})


def _refuse_unknown_variables() -> None:
    for name in os.environ:
        section = name.removeprefix("WHYREC_").partition("__")[0].lower()
        if name.startswith("WHYREC_") and section not in (*Settings.model_fields, *_OTHER):
            raise WorkspaceError(f"the environment variable {name} names no setting; whyrec doctor lists them")


def _read(kind: type[Settings], file: Path | None) -> Settings:
    try:
        return kind()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        source = f"{file} or an environment variable WHYREC_…" if file else "an environment variable WHYREC_…"
        raise WorkspaceError(f"setting {name}, from {source}: {first['msg']}") from error


def _small(settings: Settings, root: Path) -> Settings:
    found = current_profile(root / PROFILE)
    if found is None:
        raise WorkspaceError(f"there is no small profile; make it with: {command('compress', root)}")
    lm, smaller = settings.language_model, found.language_model
    lm = lm if smaller == "auto" else lm.model_copy(update={"precision": smaller})
    return settings.model_copy(update={"language_model": lm, "student": StudentSettings(precision=found.student)})


def _own_or(own: Path, packaged: Path) -> str:
    return str(own if (own / CURRENT).is_file() else packaged)


def described(settings: BaseModel, prefix: str = "") -> Iterator[tuple[str, object, str]]:
    """Every setting as (name, value, description)."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from described(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.description or ""
