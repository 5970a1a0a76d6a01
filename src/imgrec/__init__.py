"""imgrec: what does this optimizer, this loss, this layer really do to an image classifier?"""

__version__ = "0.1.0"
