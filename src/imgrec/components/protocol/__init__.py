"""The protocols: how a network is measured."""
