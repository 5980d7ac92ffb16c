"""The adapters that the kit is run on."""

from types import MappingProxyType

BROKERS = MappingProxyType(
    {
        "paper": ("paper", ""),
        "template": ("broker_adapters.kit.template:create", ""),
        "alpaca_trading": ("alpaca_trading", "alpaca_benches:AlpacaTradingBench"),
        "alpaca_broker": ("alpaca_broker", "alpaca_broker_bench:AlpacaBrokerBench"),
        "drivewealth": ("drivewealth_adapter:create", ""),
        "drivewealth_whole": ("drivewealth_adapter:create", "drivewealth_server:WholeShareBench"),
    }
)
"""Name -> (factory, bench)."""
