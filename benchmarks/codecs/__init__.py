"""Parts of `benchmarks/codec.py`."""
