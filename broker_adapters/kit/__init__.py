"""What every broker adapter must do, as numbered cases that anybody can run on their own.

    pytest --pyargs broker_adapters.kit --broker my.module:create

The numbered list is in docs/brokers.md; docs/write-a-broker.md walks through writing an adapter.
"""
