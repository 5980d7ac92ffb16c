"""`python -m scheduler`: the runner by hand, and everything about time."""

import sys

from scheduler.commands import main

if __name__ == "__main__":
    sys.exit(main())
