"""The shared kernel: standard library only, imported by every other floor."""
