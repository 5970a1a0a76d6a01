"""One file over HTTPS, checked before anyone opens it."""

import hashlib
import http.client
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from imgrec.errors import RunError

TIMEOUT_SECONDS = 10.0  # to connect, and between two pieces of the answer
_PIECE = 1 << 18


def fetch(url: str, target: Path, *, sha256: str, label: str, way_out: str) -> None:
    """Download `url` into the new file `target`, showing progress on stderr.

    sha256: what the content must hash to, in hex; checked while it arrives, so before anything reads the file.
    label: what is being fetched, for the progress display.
    way_out: what a user can do instead; ends every refusal.

    The server's certificate is always verified, against the system's authorities or those in $SSL_CERT_FILE.
    Raises RunError, and leaves nothing at `target`, for a URL or redirect without HTTPS, an unreachable server, a
    refusing one, an answer that breaks off, another hash, or a full disk.
    """
    if urlsplit(url).scheme != "https":
        raise RunError(f"{url}: a download must use https; {way_out}")
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=ssl.create_default_context()), _HttpsOnly(way_out)
    )
    try:
        # https is checked above, and by _HttpsOnly for every redirect
        with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
            digest = _receive(answer, target, url=url, label=label, way_out=way_out)
        if digest != sha256:
            raise RunError(f"{url}: its SHA-256 must be {sha256}, got {digest}: nothing was unpacked; {way_out}")
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


def _receive(answer: http.client.HTTPResponse, target: Path, *, url: str, label: str, way_out: str) -> str:
    """Write the answer to `target`; returns its SHA-256 in hex."""
    length = answer.headers.get("Content-Length", "")
    expected = int(length) if length.isdigit() else None
    digest = hashlib.sha256()
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
        # http.client ends a short answer silently when it is read in pieces
        raise RunError(f"{url}: must send {expected} bytes, got {received}; run again, or {way_out}")
    return digest.hexdigest()


@contextmanager
def _progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line every tenth elsewhere; gives a function that counts bytes."""
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
