"""Pure numerics on chunks of accounts: allocation, drift, blocks, risk."""
