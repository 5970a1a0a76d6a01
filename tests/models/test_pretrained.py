"""Test pretrained weights of residual networks, served by this machine."""

import hashlib
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import Tensor

from imgrec.components.model.resnet import Resnet
from imgrec.components.model.resnet18 import Resnet18
from imgrec.errors import RunError, UsageError
from imgrec.models import pretrained
from imgrec.models.build import build
from imgrec.models.network import Network

MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def network(cfg: Resnet, *, channels: int = 3, fetch: bool = True) -> Network:
    return build(
        cfg, num_classes=10, image_size=8, channels=channels, mean=MEAN[:channels], std=STD[:channels], fetch=fetch
    )


@pytest.fixture
def published() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(torchvision.models.resnet18(weights=None).state_dict())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def offer(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Let torchvision's ResNet-18 weights lie at `url`; fetching stays torchvision's own."""
    kind = type(torchvision.models.ResNet18_Weights.IMAGENET1K_V1)
    here = SimpleNamespace(url=url)
    here.get_state_dict = lambda **options: kind.get_state_dict(here, **options)
    monkeypatch.setitem(pretrained._WEIGHTS, "resnet18", here)


def save(folder: Path, weights: dict[str, Tensor]) -> Path:
    """A weights file whose name carries its hash, as torchvision's do."""
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()[:8]
    path = folder / f"resnet18-{digest}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    return path


def test_pretrained_weights_are_fetched_checked_and_kept(
    tmp_path: Path,
    hub: Path,
    address: str,
    published: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = save(tmp_path, published)
    offer(monkeypatch, f"{address}/{file.name}")
    net = network(Resnet18(stem="imagenet", pretrained=True))
    backbone = {name: value for name, value in published.items() if not name.startswith("fc.")}
    assert all(torch.equal(net.state_dict()[f"net.backbone.{name}"], value) for name, value in backbone.items())
    assert net.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert net.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    assert net(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert capsys.readouterr().out == ""
    assert (hub / file.name).is_file()

    file.unlink()  # the second time, no server is needed
    assert pretrained.state_dict("resnet18").keys() == published.keys()


def test_without_network_the_refusal_says_where_the_file_may_be_placed(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://127.0.0.1:9/resnet18-f37072fd.pth"  # nothing listens on the discard port
    offer(monkeypatch, url)
    with pytest.raises(RunError) as refusal:
        network(Resnet18(stem="imagenet", pretrained=True))
    message = str(refusal.value)
    assert message.startswith(f"the pretrained weights {url} could not be fetched (")
    assert message.endswith(f"place the file at {hub / 'resnet18-f37072fd.pth'}, or set model.pretrained=false")
    assert "\n" not in message


def test_a_missing_file_is_refused(hub: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, f"{address}/resnet18-f37072fd.pth")
    with pytest.raises(RunError, match=r"could not be fetched .*404"):
        pretrained.state_dict("resnet18")
    assert not (hub / "resnet18-f37072fd.pth").exists()


def test_a_download_of_other_bytes_is_refused(
    tmp_path: Path, hub: Path, address: str, published: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(tmp_path, published)
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    offer(monkeypatch, f"{address}/{file.name}")
    with pytest.raises(RunError, match="arrived damaged"):
        pretrained.state_dict("resnet18")
    assert not (hub / file.name).exists()


def test_a_file_placed_by_hand_is_checked(
    hub: Path, published: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(hub, published)
    offer(monkeypatch, f"http://127.0.0.1:9/{file.name}")
    assert pretrained.state_dict("resnet18").keys() == published.keys()
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RunError) as refusal:
        pretrained.state_dict("resnet18")
    assert str(refusal.value).startswith(f"{file} must have a SHA-256 that starts with {file.stem[-8:]}")
    assert str(refusal.value).endswith("remove it to download it again")


def test_a_network_for_a_checkpoint_fetches_nothing(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "http://127.0.0.1:9/resnet18-f37072fd.pth")
    net = network(Resnet18(stem="imagenet", pretrained=True), fetch=False)
    assert net.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_pretrained_weights_refuse_other_than_three_channels() -> None:
    with pytest.raises(UsageError, match=r"needs images of 3 channels, got 1; set model.pretrained=false"):
        network(Resnet18(stem="imagenet", pretrained=True), channels=1)


def test_the_published_files_carry_their_hash() -> None:
    for name, digest in (("resnet18", "f37072fd"), ("resnet50", "11ad3fa6")):
        assert str(pretrained._WEIGHTS[name].url) == f"https://download.pytorch.org/models/{name}-{digest}.pth"
