"""``make bench``: runs everything, prints it, writes docs/benchmarks.md and README.md's table."""

from benchmarks.cache import main

if __name__ == "__main__":
    main()
