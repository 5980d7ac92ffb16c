"""The wash-sale history of households, computed from what is booked and what was imported.

`folding` gives the whole books of a household; `windows` what a day forbids, for thousands of
accounts at once; `counting` which wash sales there were, and whether they were meant.
"""

from robo.services.washing.folding import books_of
from robo.services.washing.windows import Window, window

__all__ = ["Window", "books_of", "window"]
