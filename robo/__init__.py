"""HOW it happens: money, ledger, tax, portfolio numerics, tables, services, API and CLI."""
