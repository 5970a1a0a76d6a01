"""The parts that a configuration picks by name, a file each. Their modules import torch in `build` alone."""
