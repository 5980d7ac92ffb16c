"""Double entry, pure: chart, entries, recipes, balances."""
