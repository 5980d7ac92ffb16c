"""The wire: schemas above resources, one use case a handler."""
