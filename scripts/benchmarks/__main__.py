"""Run one benchmark; exit code 1 where it missed what was promised."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from scripts import benchmarks


def main(words: list[str]) -> int:
    names = [one.name for one in pkgutil.iter_modules(benchmarks.__path__) if not one.name.startswith("_")]
    if not words or words[0] not in names:
        for name in names:
            about = importlib.import_module(f"scripts.benchmarks.{name}").__doc__ or ""
            print(f"scripts/bench {name:<8} {about.splitlines()[0]}")
        return 2 if words and words[0] not in ("-h", "--help") else 0
    missed = importlib.import_module(f"scripts.benchmarks.{words[0]}").main(words[1:])
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
