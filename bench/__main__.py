"""`python -m bench [--json] [--quick] [MODULE ...]`: run every benchmark and print its figures."""

import argparse
import importlib
import pkgutil
import sys
import traceback

import bench
from bench.report import Figure, json_line, table

_NOT_BENCHMARKS = {"__main__", "exact", "instances", "peers", "load", "report", "seeding"}


def main() -> int:
    """Run what was asked for; one that fails is reported and does not stop the others."""
    found = [
        module.name
        for module in pkgutil.iter_modules(bench.__path__)
        if module.name not in _NOT_BENCHMARKS and not module.name.startswith("_")
    ]
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--quick", action="store_true", help="smaller samples, about a minute")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(found)}")
    options = parser.parse_args()
    unknown = sorted(set(options.modules) - set(found))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    failed = False
    for name in options.modules or found:
        try:
            module = importlib.import_module(f"bench.{name}")
            figures: list[Figure] = module.run(quick=options.quick)
        except Exception:  # noqa: BLE001 - one broken benchmark must not hide the others
            traceback.print_exc()
            failed = True
            continue
        if options.json:
            print("\n".join(json_line(figure) for figure in figures), flush=True)
        else:
            print(f"\n{name}\n{table(figures)}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
