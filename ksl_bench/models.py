"""The base model and its tokenizer: found, pinned and loaded.

Any Hugging Face causal language model by id or folder: weights only as safetensors, the revision
pinned to a commit before anything runs, remote code off unless a suite asks for it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from ksl_bench import tiny_base, tiny_base_five
from ksl_bench.config import ModelSpec, Precision
from ksl_bench.errors import ModelError

if TYPE_CHECKING:  # its model code takes seconds to import
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TINY_BASE = "tiny-base"
"""The name by which a suite asks for the base model that ships with the package."""
SHIPPED = {TINY_BASE: tiny_base.PATH, "tiny-base-five": tiny_base_five.PATH}
"""The folders of all that ship, by name."""

_DEFINING = (
    "*.safetensors", "config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab.*", "merges.txt", "*.model", "*.py",
)  # fmt: skip
"""Where files of these names differ, so do the models; of those that ship the weights decide."""

DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A base model that was found, and can be loaded by any worker."""

    name: str
    """As the suite gave it."""
    location: str
    """A folder, or a Hugging Face id."""
    revision: str | None
    """Commit of a Hugging Face id, None for a folder."""
    digest: str
    """Identity: the commit, or the SHA-256 of a folder's files by which the model says what it says."""
    trust_remote_code: bool = False

    def options(self) -> dict[str, Any]:
        """Return what every loader of this model is told."""
        return {"revision": self.revision, "trust_remote_code": self.trust_remote_code}


def find_named(name: str, *, option: str, revision: str | None = None) -> ModelReference:
    """Find the base model that an option of a command names; see `find_asked`."""
    return find_asked(ModelSpec(name_or_path=name, revision=revision), option=option)


def find_asked(spec: ModelSpec, *, option: str, weights: bool = True) -> ModelReference:
    """Find a model that another field than `model` asks for.

    Raises:
        ModelError: As `find_model` does, in the field's name.
    """
    try:
        return find_model(spec, weights=weights)
    except ModelError as error:
        problems = [one.replace("model.name_or_path", option) for one in error.problems]
        raise ModelError(problems) from None


def find_model(spec: ModelSpec, *, weights: bool = True) -> ModelReference:
    """Find a base model without loading it.

    Args:
        spec: What the suite asks for.
        weights: Whether weights must be there; a plan does with the configuration.

    Raises:
        ModelError: If it cannot be had, or only in another form than safetensors.
    """
    if spec.name_or_path in SHIPPED:
        return _find_folder(spec, SHIPPED[spec.name_or_path], weights=weights)
    folder = Path(spec.name_or_path).expanduser()
    if folder.exists() or spec.name_or_path.startswith((".", "/", "~")):
        return _find_folder(spec, folder.resolve(), weights=weights)
    return _find_on_hub(spec, weights=weights)


def _find_folder(spec: ModelSpec, folder: Path, *, weights: bool) -> ModelReference:
    where = f"model.name_or_path: {spec.name_or_path!r}"
    if spec.revision is not None:
        raise ModelError(f"model.revision: a folder has none, got {spec.revision!r}")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{where} is no model folder: it holds no config.json")
    files = sorted(folder.glob("*.safetensors"))
    if weights and not files:
        others = sorted(one.name for one in folder.glob("*.bin"))
        found = f"only {', '.join(others)}" if others else "no weights at all"
        raise ModelError(f"{where} holds no safetensors weights, {found}; convert them first")
    digest = hashlib.sha256()
    if folder not in SHIPPED.values():
        files = sorted({one for pattern in _DEFINING for one in folder.glob(pattern)})
    for file in files:
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return ModelReference(
        name=spec.name_or_path,
        location=str(folder),
        revision=None,
        digest=digest.hexdigest(),
        trust_remote_code=spec.trust_remote_code,
    )


def _find_on_hub(spec: ModelSpec, *, weights: bool) -> ModelReference:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    name, where = spec.name_or_path, f"model.name_or_path: {spec.name_or_path!r}"
    try:
        if constants.HF_HUB_OFFLINE:
            cached = snapshot_download(
                name, revision=spec.revision, local_files_only=True, allow_patterns="config.json"
            )
            commit, files = Path(cached).name, [one.name for one in Path(cached).iterdir()]
        else:
            info = HfApi().model_info(name, revision=spec.revision)
            commit, files = str(info.sha), [one.rfilename for one in info.siblings or []]
            if info.gated:  # the hub describes such a model to everyone, and gives its files to few
                HfApi().auth_check(name)
    except GatedRepoError:
        raise ModelError(f"{where} is gated: accept its terms and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"{where} is neither a folder nor a model that this token can see"
        ) from None
    except Exception as error:  # a connection that fails is an error of the HTTP library's own kind
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{where} is no folder, and the hub cannot be reached: {reason}") from None
    if weights and not any(file.endswith(".safetensors") for file in files):
        raise ModelError(f"{where} has no safetensors weights at revision {commit}")
    return ModelReference(
        name=name,
        location=name,
        revision=commit,
        digest=commit,
        trust_remote_code=spec.trust_remote_code,
    )


def load_model(reference: ModelReference, *, precision: Precision) -> PreTrainedModel:
    """Load the base model on the CPU, in evaluation mode.

    Whoever generates says all of how: what the publisher set (a repetition penalty, say) is left out, since
    it would decode otherwise than a result states.

    Raises:
        ModelError: If the weights cannot be read.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig

    try:
        model = AutoModelForCausalLM.from_pretrained(
            reference.location,
            dtype=DTYPES[precision],
            use_safetensors=True,
            **reference.options(),
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load {reference.name!r}: {error}") from error
    model.config.use_cache = False
    model.generation_config = GenerationConfig()
    return cast("PreTrainedModel", model.eval())


def weights_folder(reference: ModelReference) -> Path:
    """Return the folder that holds a base model's safetensors, fetched from the hub if need be.

    Raises:
        ModelError: If the hub cannot be reached.
    """
    if reference.revision is None:
        return Path(reference.location)
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            reference.location,
            revision=reference.revision,
            allow_patterns=["*.safetensors", "*.json"],
        )
    except Exception as error:  # a connection that fails is an error of the HTTP library's own kind
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"cannot fetch {reference.name!r}: {reason}") from None
    return Path(folder)


def load_tokenizer(reference: ModelReference) -> PreTrainedTokenizerBase:
    """Load the tokenizer, padding on the left as generation needs it.

    Raises:
        ModelError: If it cannot be read, or has no EOS token.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(reference.location, **reference.options())
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"cannot load the tokenizer of {reference.name!r}: {reason}") from None
    if tokenizer.eos_token_id is None:
        raise ModelError(f"the tokenizer of {reference.name!r} has no EOS token")
    tokenizer.padding_side = "left"
    return cast("PreTrainedTokenizerBase", tokenizer)


def skeleton(reference: ModelReference) -> PreTrainedModel:
    """Build the model from its configuration alone, on the meta device: shapes without weights.

    Raises:
        ModelError: If the configuration cannot be read.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(reference.location, **reference.options())
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"cannot read the configuration of {reference.name!r}: {error}") from None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, trust_remote_code=reference.trust_remote_code
        )
    return cast("PreTrainedModel", model)


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the SHA-256 of what turns text into ids: vocabulary and special tokens."""
    content = {
        "vocabulary": sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]),
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
    }
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()
