"""WHAT to hold: universe, screens, baskets and the index, as data plus rules."""
