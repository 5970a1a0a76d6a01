"""Test pretrained weights of residual networks, served by this machine."""

import hashlib
import http.server
import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import Tensor

from imgrec import run_lookup
from imgrec.components.model.resnet import Resnet
from imgrec.components.model.resnet18 import Resnet18
from imgrec.config.compose import compose
from imgrec.config.identity import run_id
from imgrec.data import inventory
from imgrec.errors import RunError, UsageError
from imgrec.models import from_torchvision, pretrained, torchvision_weights
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


@pytest.mark.parametrize("words", [["model=resnet18"], ["model=resnet50"], ["model=torchvision"]], ids=lambda it: it[0])
def test_the_id_of_a_pretrained_run_changes_with_torchvision_s_weights_alone(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stem = ["model.architecture=swin_t"] if words == ["model=torchvision"] else ["model.stem=imagenet"]
    config = compose(["data=digits", *words, *stem, "model.pretrained=true"])
    seen = inventory.take(config.data)
    assert run_lookup.begins_with(config, seen) is None, "ids of earlier runs stay"
    url = "https://download.pytorch.org/models/x_y-0123abcd.pth"
    monkeypatch.setattr(pretrained, "_weights", lambda name: SimpleNamespace(url=url))
    assert run_lookup.begins_with(config, seen) == "torchvision/x_y-0123abcd.pth"
    found = run_lookup.place(config, [], seen)
    assert found.run_id != run_id(config, seen.fingerprint)
    random = compose(["data=digits", *words, *stem])
    assert run_lookup.place(random, [], seen).run_id == run_id(random, seen.fingerprint)


def test_all_of_torchvision_s_weights_are_known() -> None:
    assert set(torchvision_weights.FIRST_WEIGHTS) == set(from_torchvision.names())


def test_timm_s_weights_are_named_by_their_tag() -> None:
    """With a tag, the architecture's name says which they are, and that is a part of the id."""
    pytest.importorskip("timm")
    words = ["data=digits", "model=timm", "model.pretrained=true", "model.architecture=resnet18"]
    with pytest.raises(UsageError, match=r"default tag may become another, got 'resnet18'; give") as refused:
        compose(words).model.check_beginning()
    (tag,) = re.findall(r"give model\.architecture=(\S+)$", str(refused.value))
    compose([*words[:3], f"model.architecture={tag}"]).model.check_beginning()
    compose([*words[:2], words[3]]).model.check_beginning()
