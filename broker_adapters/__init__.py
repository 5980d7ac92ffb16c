"""WHERE orders go: brokers, prices, banks and mail; sees only `robo.ports` and `robo.core`."""
