"""What we need from outside, as Protocols and values. No third party, no framework."""
