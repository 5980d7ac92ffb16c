"""Tax, pure: lots, selection, gains."""
