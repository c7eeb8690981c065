"""`python -m ksl_bench.cli`."""

from ksl_bench.cli import main

if __name__ == "__main__":
    main()
