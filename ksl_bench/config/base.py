"""What all specifications are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Precision = Literal["fp32", "bf16"]
Split = Literal["train", "dev", "devtest"]
Location = str | tuple[str, str] | tuple[tuple[str, str], ...]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{3}(_[A-Z][a-z]{3})?$")]
Direction = Annotated[str, Field(pattern=r"^[a-z]{3}(_[A-Z][a-z]{3})?-[a-z]{3}(_[A-Z][a-z]{3})?$")]
LARGEST_SEED = 2**32 - 1
"""NumPy's, whose generator for libraries takes no larger one."""
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Text = Annotated[str, Field(pattern=r"\S")]


class Spec(BaseModel):
    """A frozen part of a suite; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSpec(Spec):
    """The base model: any Hugging Face causal language model, or the shipped tiny one."""

    name_or_path: str
    """`tiny-base` or `tiny-base-five` (shipped), a folder, or a Hugging Face id."""
    revision: str | None = None
    """Branch, tag or commit of a Hugging Face id; it is pinned to the commit before anything runs."""
    trust_remote_code: bool = False
