"""Prints the numbered list of cases as docs/brokers.md shows it."""

import sys

from broker_adapters.kit.listing import listing

if __name__ == "__main__":
    sys.stdout.write(listing())
