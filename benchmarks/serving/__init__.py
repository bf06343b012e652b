"""The parts of benchmarks/serve.py: which servers, their processes, the client, the answers, the report."""
