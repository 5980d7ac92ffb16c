"""Use cases and the steps they share."""
