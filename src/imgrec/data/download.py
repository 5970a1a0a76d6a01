"""Download one file over HTTPS, and check it before it is used."""

import http.client
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from imgrec.data.checksum import Checksum
from imgrec.errors import RunError

TIMEOUT_SECONDS = 10.0  # to connect, and between two pieces of the answer
_PIECE = 1 << 18


def fetch(url: str, target: Path, *, checksum: Checksum, label: str, way_out: str) -> None:
    """Download `url` into the new file `target`, with progress on stderr.

    The server's certificate is always verified, against the system's authorities or those in $SSL_CERT_FILE.

    Args:
        url: The file's address.
        target: The file to write.
        checksum: The expected checksum; computed during the download, so before any code reads the file.
        label: Name of the file in the progress display.
        way_out: What a user can do instead; ends every error message.

    Raises:
        RunError: The URL or a redirect is not HTTPS, the server cannot be reached or refuses, the answer is incomplete,
            the hash differs, or the disk is full. No file is then left at `target`.
    """
    if urlsplit(url).scheme != "https":
        raise RunError(f"{url}: a download must use https; {way_out}")
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=ssl.create_default_context()), _HttpsOnly(way_out)
    )
    try:
        # https is checked above, and for every redirect by _HttpsOnly
        with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
            digest = _receive(answer, target, digest=checksum.new(), url=url, label=label, way_out=way_out)
        if digest != checksum.value:
            raise RunError(
                f"{url}: its {checksum.name} must be {checksum.value}, got {digest}: nothing was unpacked; {way_out}"
            )
    except urllib.error.HTTPError as error:
        raise RunError(f"{url}: the server must answer 200, got {error.code} {error.reason}; {way_out}") from error
    except (OSError, http.client.HTTPException) as error:
        target.unlink(missing_ok=True)
        reason = getattr(error, "reason", None) or error
        raise RunError(f"{url}: cannot be downloaded ({reason}); {way_out}") from error
    except BaseException:
        target.unlink(missing_ok=True)
        raise


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def __init__(self, way_out: str) -> None:
        self.way_out = way_out

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise RunError(f"{req.full_url}: a redirect must stay on https, got {newurl}; {self.way_out}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(answer: http.client.HTTPResponse, target: Path, *, digest: Any, url: str, label: str, way_out: str) -> str:
    """Write the answer to `target`, and return its checksum in hexadecimal, which `digest` computes."""
    length = answer.headers.get("Content-Length", "")
    expected = int(length) if length.isdigit() else None
    received = 0
    with _progress(label, expected) as advance, target.open("xb") as file:
        while piece := answer.read(_PIECE):
            digest.update(piece)
            received += len(piece)
            try:
                file.write(piece)
            except OSError as error:
                raise RunError(f"{target}: cannot be written ({error.strerror}); free space, {way_out}") from error
            advance(len(piece))
    if expected is not None and received != expected:
        # http.client reports no error for a short answer that is read in pieces
        raise RunError(f"{url}: must send {expected} bytes, got {received}; run again, or {way_out}")
    return str(digest.hexdigest())


@contextmanager
def _progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, or a line for every 10 % elsewhere. Yields a function that counts bytes."""
    if sys.stderr.isatty():
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(label, total=total)
            yield lambda size: bar.advance(task, size)
        return
    done, tenth = 0, 0
    print(f"{label}: downloading" + (f" {total / 1e6:.1f} MB" if total else ""), file=sys.stderr, flush=True)

    def advance(size: int) -> None:
        nonlocal done, tenth
        done += size
        if total and done * 10 // total > tenth:
            tenth = done * 10 // total
            print(f"{label}: {tenth * 10} %", file=sys.stderr, flush=True)

    yield advance
