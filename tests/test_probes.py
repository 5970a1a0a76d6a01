"""Test protocols that learn from the training images: against their definitions, in a run, and in an evaluation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from imgrec import evaluate, inference, launch, protocols
from imgrec.components.protocol.knn import Knn
from imgrec.components.protocol.linear_probe import LinearProbe
from imgrec.data.source import MemoryImages
from imgrec.errors import UsageError
from imgrec.protocols import Batch, Known


class Features:
    """A network whose features are the pixels."""

    def __call__(self, images_nchw: Tensor, /) -> Tensor:
        return self.features(images_nchw)[:, :3]

    def features(self, images_nchw: Tensor, /) -> Tensor:
        return images_nchw.flatten(start_dim=1)


@pytest.fixture
def known() -> Known:
    torch.manual_seed(0)
    targets_m = torch.arange(60) % 3
    return Known(features_md=torch.rand(60, 8) + nn.functional.one_hot(targets_m, 8), targets_m=targets_m, classes=3)


def batch_of(features_nd: Tensor) -> Batch:
    count = len(features_nd)
    return Batch(
        images_nchw=features_nd.view(count, 2, 2, 2), targets_n=torch.zeros(count).long(), indices_n=torch.arange(count)
    )


def test_neighbours_vote_as_scikit_learn_s_do(known: Known) -> None:
    asked_nd = torch.rand(20, 8)
    found = protocols.knn(Features(), batch_of(asked_nd), known=known, k=7, temperature=0.07)
    theirs = KNeighborsClassifier(7, metric="cosine", weights=lambda distances: np.exp((1 - distances) / 0.07))
    expected = theirs.fit(known.features_md.numpy(), known.targets_m.numpy()).predict_proba(asked_nd.numpy())
    np.testing.assert_allclose(found[""].softmax(dim=1).numpy(), expected, atol=1e-4)


def test_all_training_images_vote_if_there_are_fewer_than_k(known: Known) -> None:
    asked = batch_of(torch.rand(4, 8))
    all_of_them, more = (protocols.knn(Features(), asked, known=known, k=k, temperature=1.0)[""] for k in (60, 500))
    assert torch.equal(all_of_them, more)


def test_the_probe_is_logistic_regression_of_standardised_features(known: Known) -> None:
    asked_nd = torch.rand(20, 8)
    probe = protocols.linear_probe(known, l2=0.5, max_iter=1000)
    found = probe(Features(), batch_of(asked_nd))[""].softmax(dim=1).double().numpy()
    features_md = known.features_md.double()
    mean, deviation = features_md.mean(dim=0), features_md.std(dim=0, correction=0)
    theirs = LogisticRegression(C=2.0, max_iter=5000, tol=1e-8).fit(
        ((features_md - mean) / deviation).numpy(), known.targets_m.numpy()
    )
    expected = theirs.predict_proba(((asked_nd.double() - mean) / deviation).numpy())
    np.testing.assert_allclose(found, expected, atol=5e-3)


@pytest.mark.parametrize("classes", [[1], [0, 2]])
def test_classes_without_a_training_image_have_no_probability(known: Known, classes: list[int]) -> None:
    chosen_m = torch.isin(known.targets_m, torch.tensor(classes))
    some = Known(features_md=known.features_md[chosen_m], targets_m=known.targets_m[chosen_m], classes=3)
    found = protocols.linear_probe(some, l2=1.0, max_iter=100)(Features(), batch_of(torch.rand(5, 8)))[""]
    assert found.isfinite().all()
    shares_nk = found.softmax(dim=1)
    torch.testing.assert_close(shares_nk[:, classes].sum(dim=1), torch.ones(5))


def test_a_probe_that_has_not_converged_says_so(known: Known, caplog: pytest.LogCaptureFixture) -> None:
    protocols.linear_probe(known, l2=1e-6, max_iter=1)
    assert "has not converged after 1 iterations; give protocol.linear_probe.max_iter=10" in caplog.text


def test_features_are_what_enters_the_head() -> None:
    torch.manual_seed(0)
    body, head = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 1)
    network = nn.Sequential(body, head, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    seen = inference._Seen(network, ["1"])
    images_nchw = torch.rand(4, 3, 6, 6)
    torch.testing.assert_close(seen.features(images_nchw), body(images_nchw).mean(dim=(2, 3)))
    assert not head._forward_pre_hooks


@pytest.mark.parametrize("protocol", [Knn(k=3), LinearProbe()], ids=["knn", "linear_probe"])
def test_a_protocol_learns_from_the_training_images_alone(protocol: Any) -> None:
    """Classes that are apart in the pixels: the probe finds them although the head is random."""
    torch.manual_seed(0)
    targets_n = torch.arange(30) % 2
    images_nchw = (40 * torch.rand(30, 3, 4, 4) + 150 * targets_n[:, None, None, None]).byte()
    train, other = MemoryImages(images_nchw[:20], targets_n[:20]), MemoryImages(images_nchw[20:], targets_n[20:])
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.Linear(4, 2))
    common: dict[str, Any] = {"head": ["2"], "device": torch.device("cpu"), "batch_size": 7}
    measured = inference.learned(network, train, protocol, classes=2, **common)
    found = inference.predict(network, other, protocol, measured=measured, **common)[protocol.name]
    assert torch.equal(found.predicted_n, targets_n[20:])


@pytest.mark.long
def test_a_run_and_an_evaluation_score_probes_alike(tiny: list[str], workplace: Path) -> None:
    words = [*tiny, "trainer.max_epochs=2", "optimizer.lr=0.01", "test_protocols=[clean,linear_probe,knn]"]
    run = launch.train([*words, "protocol.knn.k=5"])
    scores = {
        (each.protocol, each.split): each for each in run.record.scores if each.metric == "top1" and each.at == "best"
    }
    assert scores["knn", "test"].settings["k"] == 5
    for name, settings in (("knn", ["protocol.knn.k=5"]), ("linear_probe", [])):
        again = evaluate.evaluate(run.folder, protocol=name, settings=settings)
        (top1,) = [each for each in again.scores if each.metric == "top1"]
        assert top1.value == scores[name, "test"].value
        assert scores[name, "val"].value > 0.5, "there are three classes"


def test_a_trial_of_few_images_tries_the_probes(tiny: list[str]) -> None:
    """The images of a folder are sorted, so that the few are of one class."""
    words = [*tiny, "data.eval_batch_size=4", "test_protocols=[linear_probe,knn]", "trainer.fast_dev_run=true"]
    assert launch.train(words).tried


def test_a_probe_of_other_images_is_refused(
    finished: Path, image_folder: Path, tiny_images: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for name, source in zip(("row", "column", "diagonal"), sorted(image_folder.iterdir()), strict=True):
        other.mkdir(exist_ok=True)
        (other / name).symlink_to(source)
    with pytest.raises(UsageError, match=r"--protocol=knn learns from the training images of .*run, and --data-root"):
        evaluate.evaluate(finished, protocol="knn", data_root=other)


@pytest.mark.long
def test_a_protocol_of_the_user_learns_too(tiny: list[str], imgrec: Callable[..., Any], workplace: Path) -> None:
    (workplace / "nearest_mean.py").write_text(
        """
from typing import ClassVar
import torch
from imgrec.components import Protocol, register


@register("protocol", "nearest_mean")
class NearestMean(Protocol):
    \"\"\"The class with the nearest mean of features.\"\"\"

    learns: ClassVar[bool] = True

    def build(self):
        def learned(known):
            means = [known.features_md[known.targets_m == k].mean(dim=0) for k in range(known.classes)]
            means_kd = torch.nan_to_num(torch.stack(means))

            def measured(network, batch):
                return {"": -torch.cdist(network.features(batch.images_nchw).cpu(), means_kd)}

            return measured

        return learned
"""
    )
    words = [*tiny, "trainer.max_epochs=1", "test_protocols=[nearest_mean]", "hydra.run.dir=run"]
    child = imgrec("train", "--components", "nearest_mean.py", *words)
    assert child.wait() == 0, child.log.read_text()
    assert "trying protocol=nearest_mean on 2 images" in child.log.read_text()
