"""ksl-bench: rigorous, distributed benchmarking of parameter-efficient fine-tuning."""

__version__ = "0.1.0"
