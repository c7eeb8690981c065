"""What many tests share: small real models, made here, never downloaded."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that needs the network fails, not waits
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes that share the processors
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray reads it when it is imported

import fsspec
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from ksl_bench.cli import main
from ksl_bench.lottery.ticket import Ticket, TicketRow

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Leave slow tests out unless the command line says otherwise."""
    if not config.option.markexpr:
        config.option.markexpr = "not slow and not gpu"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, saying why."""
    for item in items:
        if item.get_closest_marker("shared_data") and not SHARED_DATA.is_dir():
            item.add_marker(pytest.mark.skip(reason="the real text (../shared/data) is not here"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def shared_data() -> Path:
    return SHARED_DATA


@pytest.fixture
def make_llama() -> Callable[..., PreTrainedModel]:
    """Return a maker of tiny random Llamas: 200 tokens, width 32, two layers, always the same."""

    def make(*, tied: bool = False, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        config = LlamaConfig(
            vocab_size=200,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=128,
            tie_word_embeddings=tied,
            bos_token_id=1,
            eos_token_id=2,
            pad_token_id=0,
        )
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return LlamaForCausalLM(config).to(dtype).eval()

    return make


@pytest.fixture
def make_ticket() -> Callable[..., Ticket]:
    """Return a maker of tickets over given rows, of no particular base."""

    def make(token_ids: list[int], *, values: torch.Tensor | None = None) -> Ticket:
        return Ticket(
            base_model="tiny",
            revision=None,
            base_digest="0" * 64,
            tokenizer_digest=None,
            tensor="input_embedding",
            criterion="ks",
            alpha=None,
            k=len(token_ids),
            source_state=None,
            values="none" if values is None else "transferred",
            rows=tuple(
                TicketRow(token_id=one, token=f"<{one}>", D=None, p=None, l2=None)
                for one in token_ids
            ),
            row_values=values,
        )

    return make


@dataclass
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def ksl(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Return what runs a command line in this process: importing the libraries takes seconds."""

    def call(*arguments: str, cwd: Path | None = None) -> Done:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["ksl-bench", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        text = capfd.readouterr()
        return Done(int(caught.value.code or 0), text.out, text.err)

    return call


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A bucket of moto's server, in a thread of this process, as a URI."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line a request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        fsspec.filesystem("s3").mkdir("results-of-tests")
        yield "s3://results-of-tests"
        fsspec.filesystem("s3").clear_instance_cache()
    server.stop()
