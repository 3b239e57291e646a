"""ramkit beside the packages that people would pick instead: ``python -m benchmarks``."""
