"""The protocols: how the outputs of a network are computed when it is scored."""
