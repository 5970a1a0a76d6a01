"""Check how the decoder refuses a file."""

from pathlib import Path

import pytest

from imgrec.data.decode import ImageError, decode


def refusal(path: Path) -> str:
    """The sentence, in one printable line that names the file."""
    with pytest.raises(ImageError) as caught:
        decode(path, 8)
    sentence = str(caught.value)
    assert sentence.startswith(f"{str(path)!r}: must be a whole image (JPEG, PNG, WEBP, BMP, TIFF), got: ")
    assert sentence.endswith("; replace or delete it, or leave such images out with data.on_error=skip")
    assert sentence.isprintable()
    return sentence
