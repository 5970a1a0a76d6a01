"""Test that overrides become a checked configuration, or an error message of one sentence."""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from imgrec.components.data.cifar10 import Cifar10
from imgrec.components.data.digits import Digits
from imgrec.components.data.folder import Folder
from imgrec.components.model.cnn import Cnn
from imgrec.components.model.resnet50 import Resnet50
from imgrec.components.optimizer.adam import Adam
from imgrec.config import folders, schemas, serialize
from imgrec.config.augment import Augment
from imgrec.config.compose import compose, compose_raw, expand, of_study, own_hydra, typed
from imgrec.config.folders import conf_dir
from imgrec.config.overrides import given, literal, parsed
from imgrec.config.schemas import choices
from imgrec.errors import UsageError

MODELS = ", ".join(choices("model"))

CALLBACKS = "device_stats, gradient_norm, lr_monitor, noise_scale, sharpness, timer"


def refusal(*overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        compose(overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_nothing_given_is_the_stated_default() -> None:
    config = compose([])
    assert [type(section) for section in (config.data, config.model, config.optimizer)] == [Cifar10, Cnn, Adam]
    assert config.model.widths == [32, 64, 128]
    assert (config.seed, config.test, config.experiment, config.trainer.name) == (0, True, None, "auto")


def test_choices_and_keys_arrive_with_their_types() -> None:
    config = compose(
        ["data=digits", "model=resnet50", "optimizer=adam", "optimizer.lr=1", "augment=cutmix", "seed=7", "test=false"]
    )
    assert [type(part) for part in (config.data, config.model, config.optimizer, config.augment)] == [
        Digits,
        Resnet50,
        Adam,
        Augment,
    ]
    assert config.optimizer.lr == 1.0
    assert isinstance(config.optimizer.lr, float)
    assert (config.augment.name, config.augment.mix, config.seed, config.test) == ("cutmix", "cutmix", 7, False)


def test_a_list_replaces_the_default_list() -> None:
    assert compose(["model.widths=[8,16]"]).model.widths == [8, 16]


def test_yaml_s_true_is_the_word_true() -> None:
    assert compose(["trainer.deterministic=true"]).trainer.deterministic == "true"


def test_the_environment_names_the_data_folder_when_the_configuration_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMGREC_DATA_DIR", raising=False)
    assert compose([]).data.root == "~/.cache/imgrec"
    monkeypatch.setenv("IMGREC_DATA_DIR", "/mnt/images")
    assert compose([]).data.root == "/mnt/images"
    monkeypatch.delenv("IMGREC_DATA_DIR")
    assert compose([]).data.root == "~/.cache/imgrec"
    assert compose(["data.root=/elsewhere"]).data.root == "/elsewhere"


def test_a_recipe_changes_choices_and_the_command_line_changes_the_recipe() -> None:
    config = compose(["experiment=demo", "seed=3", "optimizer=momentum", "trainer.max_epochs=2"])
    assert config.experiment == "demo"
    assert (config.data.name, config.optimizer.name, config.trainer.max_epochs, config.seed) == (
        "digits",
        "momentum",
        2,
        3,
    )


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["model=resnet5O"],
            f"model must be one of {MODELS}, got 'resnet5O'; did you mean model=resnet50?",
        ),
        (
            ["model=null"],
            f"model must be one of {MODELS}, got 'None'",
        ),
        (
            ["model=[cnn]"],
            f"model must be one of {MODELS}, got \"['cnn']\"; did you mean model=cnn?",
        ),
        (
            ["~model"],
            f"model cannot be deleted (~model); choose one of {MODELS}",
        ),
        (["~seed"], "seed cannot be deleted (~seed); leave it out for its default"),
        (["~data.root"], "data.root cannot be deleted (~data.root); leave it out for its default"),
        (["experiment=null"], "experiment must be a name, got null; leave experiment out for none"),
        (
            ["study=wide"],
            "study must be one of augmentation_epochs, augmentations, digits, losses, optimizers, optimizers_losses,"
            " seeds, tiny, got 'wide'",
        ),
        (["data.name=digits"], "data.name follows from the choice; write data=digits instead"),
        (["optimizer.lr=-1"], "optimizer.lr must be > 0 and finite, got -1.0"),
        (
            ["optimizer.lr=abc"],
            "optimizer.lr: value 'abc' could not be converted to Float; give a value of the right type",
        ),
        (
            ["model.widths=32"],
            "model.widths must be a list, got a value (int); put it into brackets: 'model.widths=[...]'",
        ),
        (["seed=0..4"], "converted to Integer; give one number, or several with -m: 'seed=range(0,5)'"),
        (["seed=[0,1]"], "converted to Integer; give one number, or several with -m: seed=0,1"),
        (["seed=1.5"], "seed: value '1.5' could not be converted to Integer; give a value of the right type"),
        (["seed=null"], "seed: field 'seed' is not Optional; give a value of the right type"),
        (["seed=-1"], "seed must lie in [0, 4294967295], got -1"),
        (["seed"], "an override must read key=value, got 'seed'"),
        (["=3"], "an override must read key=value, got '=3'"),
        (["seed=1,2"], "seed=1,2 asks for several runs; add -m (imgrec train -m ...), or give one value"),
        (["data=folder"], "data.root must be given, it has no default; add data.root=... (a value)"),
        (
            ["data.root=a=b"],
            "data.root must have a value that Hydra's grammar can read, got 'a=b'; quote it for the grammar and for the"
            " shell: 'data.root=\"a=b\"'",
        ),
        (["epochs=3"], "epochs is not a key; did you mean trainer.max_epochs?; imgrec train --help all lists the keys"),
        (["+foo=1"], "foo is not a key; remove it; imgrec train --help all lists the keys"),
        (["model@x=cnn"], "Could not override 'model@x'; imgrec train --help all lists the keys"),
        (
            ["data=folder", "data.root=x", "data.image_size=8", "model=whitened_cnn"],
            "model.widths with 3 stages and model.whiten_kernel=2 needs images of at least 9 px, got 8;"
            " name fewer stages, or a smaller kernel",
        ),
        (
            ["augment.sizes=[16]", "augment.sizes_until=[0.5]", "model=cnn"],
            "augment.sizes needs a network that takes images of any size, and model=cnn takes one;"
            " choose another augment, or model=whitened_cnn, resnet18 or resnet50",
        ),
        (
            ["augment.sizes=[4]", "augment.sizes_until=[0.5]", "model=resnet50"],
            "augment.sizes must lie in [8, 31], got 4; from the network's smallest to below the images' own",
        ),
        (
            [
                "augment.sizes=[16,17,18,19,20,21,22,23]",
                "augment.sizes_until=[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8]",
                "model=whitened_cnn",
                "trainer.compile=true",
            ],
            "augment.sizes must be at most 8 with trainer.compile=true, the images' own side included,",
        ),
        (
            [
                "augment.sizes=[16,17,18,19,20,21,22,23]",
                "augment.sizes_until=[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8]",
                "model=whitened_cnn",
                "trainer.graphs=true",
            ],
            "augment.sizes must be at most 8 with trainer.graphs=true, the images' own side included,",
        ),
        (
            ["trainer.graphs=true", "trainer.compile=true"],
            "trainer.graphs=true needs trainer.compile=false, as each runs the network in a way of its own; drop one",
        ),
        (
            ["trainer=ddp", "trainer.graphs=true"],
            "trainer.graphs=true needs a run of one process, got trainer.strategy='ddp'; give trainer.graphs=false, or"
            " trainer.strategy=auto trainer.devices=1 trainer.num_nodes=1",
        ),
        (
            ["augment.sizes=[40]", "augment.sizes_until=[0.5]", "model=whitened_cnn"],
            "augment.sizes must lie in [9, 31], got 40; from the network's smallest to below the images' own",
        ),
        (
            ["data=digits", "augment=crop_flip", "augment.crop_border=reflect", "augment.crop_padding=32"],
            "augment.crop_padding must be < 32, the images' side, with augment.crop_border=reflect, got 32",
        ),
        (
            ["data=digits", "augment=trivialaugment", "data.resident=true"],
            "data.resident=true needs augment.policy=none, as policies are drawn and applied on the CPU, got"
            " 'trivialaugment'; leave data.resident out, or the policy",
        ),
        (
            ["data=folder", "data.root=x", "data.resident=true"],
            "data.resident must be auto or false for a folder, whose images are read from disk batch by batch, got"
            " 'true'; leave it out",
        ),
        (
            ["data=folder", "data.root=x", "data.image_size=36"],
            "data.image_size must be a multiple of 8 for a cnn of 3 stages, got 36",
        ),
        (
            ["model.widths=[8,8,8,8,8,8]"],
            "model.widths must name fewer stages for 32x32 images: 6 stages need a side that is a multiple of 64",
        ),
        (
            ["test_protocols=[tta]"],
            "test_protocols must be one of clean, gaussian_noise, knn, linear_probe, tta_flip, tta_flip_shift, got"
            " 'tta'",
        ),
        (
            ["callbacks=[gradient_nrm]"],
            f"callbacks must be one of {CALLBACKS}, got 'gradient_nrm'; did you mean",
        ),
        (["callbacks=[gradient_norm,gradient_norm]"], "callbacks must name each callback once, got ['gradient_norm', "),
        (["callback.gradient_norm.name=x"], "callback.gradient_norm.name follows from the list; write callbacks=[...]"),
        (["callback.gradient_norm=null"], "callback.gradient_norm must have its settings below it, got None; drop it"),
        (
            ["callback=gradient_norm"],
            "callback holds settings, such as callback.NAME.KEY=VALUE, and names nothing; name",
        ),
        (
            ["logger=csv"],
            "logger holds settings, such as logger.NAME.KEY=VALUE, and names nothing; name what is wanted",
        ),
        (["callbacks=[[gradient_norm]]"], "callbacks"),
        (["protocols=[clean]"], "protocols is not a key; did you mean test_protocols?"),
        (
            ["callbacks=[gradient_norm]", "callback.gradient_norm.every=0"],
            "callback.gradient_norm.every must be >= 1 and finite, got 0",
        ),
        (
            ["callbacks=[gradient_norm]", "callback.gradient_norm.evry=3"],
            "callback.gradient_norm.evry is not a key; did you mean callback.gradient_norm.every?",
        ),
        (
            ["+callback.mine.every=3"],
            f"callback must be one of {CALLBACKS}, got 'mine'",
        ),
        (["+callback.gradient_norm.mine=3"], "callback.gradient_norm.mine is not a key"),
        (["callbacks=gradient_norm"], "callbacks must be a list, got a value"),
        (
            ["test_protocols=[gaussian_noise]", "protocol.gaussian_noise.sigmas=[0.1,0.1]"],
            "protocol.gaussian_noise.sigmas must name deviations, each once, got [0.1, 0.1]",
        ),
        (
            ["trainer.log_graph=true", "loggers=[]"],
            "trainer.log_graph=true needs tensorboard among loggers; add it, or ",
        ),
        (
            ["data=digits", "data.resident=true", "data.num_workers=2"],
            "data.resident=true makes batches without workers, got data.num_workers=2; drop one of the two",
        ),
        (
            ["data=digits", "data.prune=0.25", "augment=mixup"],
            "data.prune needs augment.mix=none, as a mixture's loss tells of the draw more than of an image, got"
            " 'mixup'; drop one of the two, or give data.prune=0",
        ),
        (
            ["data=digits", "data.prune=0.25", "trainer.max_epochs=1"],
            "data.prune_after must leave an epoch, and 0.5 of trainer.max_epochs=1 leaves none; train longer, or"
            " give data.prune=0",
        ),
        (
            ["data=folder", "data.root=x", "data.prune=0.25", "data.on_error=skip"],
            "data.prune needs data.on_error=raise, as it asks for every image's loss, got 'skip'; delete what"
            " cannot be read, or drop one of the two",
        ),
        (
            ["primary.x=1"],
            "primary is a list: 'x' must be the number of an item, from 0; or give it whole, primary=[...]",
        ),
        (["model.widths.x=3"], "model.widths is a list: 'x' must be the number of an item"),
        (["optimizer.lr=abc", "epochs=3"], "optimizer.lr: value 'abc' could not be converted"),  # the first one
        (["data.prune=0.95"], "data.prune must lie in [0, 0.9], got 0.95"),
        (["data.prune=0.1", "data.prune_after=0"], "data.prune_after must lie in (0, 1), got 0"),
        (["test_precision=8"], "test_precision must be one of 32, bf16, got '8'"),
        (
            ["test_protocols=[]"],
            "test_protocols must name at least one protocol, got []; use test=false to skip the test",
        ),
        (["test_protocols=[clean,clean]"], "test_protocols must name each protocol once, got ['clean', 'clean']"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_said_in_one_sentence(overrides: list[str], sentence: str) -> None:
    assert sentence in refusal(*overrides)


@pytest.mark.parametrize("override", ["_target_=os.system", "+_target_=os.system", "+data._target_=os.system"])
def test_a_target_is_an_unknown_key(override: str) -> None:
    assert "_target_ is not a key" in refusal(override)


def test_an_interpolation_reads_another_key_and_a_broken_one_is_refused() -> None:
    assert compose(["seed=5", "trainer.max_epochs=${seed}"]).trainer.max_epochs == 5
    assert compose(["model.widths=['${seed}']", "seed=5"]).model.widths == [5]
    assert refusal("optimizer.lr=${nope}") == (
        "optimizer.lr must refer to a key of the configuration, such as ${seed}: interpolation key 'nope' not found;"
        " imgrec train --help all lists the keys"
    )
    sigmas = "protocol.gaussian_noise.sigmas"
    for key, word, value in (
        ("test_protocols", "${seed}", 0),
        ("model.widths", "${model.depth}", 1),
        (sigmas, "${seed}", 0),
        (sigmas, "${loss.name}", "cross_entropy"),
    ):
        assert refusal(f"{key}={word}") == (
            f"{key} must be a list, and {word} stands for {value!r}; put it into brackets, '{key}=[\"{word}\"]', or"
            " refer to a list"
        )
    for key, word, value, kind in (
        (f"{sigmas}[0]", "${loss.name}", "cross_entropy", "Float"),
        ("trainer.max_epochs", "${optimizer.lr}", "0.001", "Integer"),
    ):
        given = f"{sigmas}=['{word}']" if key.startswith(sigmas) else f"{key}={word}"
        assert refusal("test_protocols=[gaussian_noise]", given) == (
            f"{key} must be of the type {kind}, and {word} stands for {value!r}; refer to a key of that type"
        )


def test_the_raw_configuration_goes_through_the_same_door() -> None:
    raw = compose_raw(["data=folder", "data.root=/images"])
    config = typed(raw)
    assert isinstance(config.data, Folder)
    assert config.data.root == "/images"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["seed=3", "trainer.max_epochs=2", "optimizer=adam", "optimizer.lr_scale=0.5", "seed=4"],
        ["experiment=speed94", "model.activation=relu", "hydra.run.dir=x", "augment=none", "data.val_size=0"],
        ["data=folder", "data.root=/images", "model.widths=[4,8]", "experiment=cnn_strong", "model.dropout=${seed}"],
        ["++seed=3", "++trainer.max_epochs=5", "+loss.unknown=1", "resume_override=[seed]"],
        ["study=losses", "primary=[a]", "model=resnet18", "trainer=ddp", "hydra.verbose=true"],
    ],
    ids=lambda words: " ".join(words) or "defaults",
)
def test_values_are_set_as_hydra_sets_them(words: list[str]) -> None:
    """The choices are composed once and the values are set in a copy. The result must equal that of Hydra alone."""
    schemas.register()
    with own_hydra(), initialize_config_dir(str(conf_dir()), version_base="1.3"):
        expected = hydra_compose("config", overrides=words)
    assert OmegaConf.to_yaml(compose_raw(words)) == OmegaConf.to_yaml(expected)


def test_a_sweep_is_every_combination_in_the_order_given() -> None:
    assert expand(["seed=0,1", "model=cnn,resnet18", "data.batch_size=8"]) == [
        ["seed=0", "model=cnn", "data.batch_size=8"],
        ["seed=0", "model=resnet18", "data.batch_size=8"],
        ["seed=1", "model=cnn", "data.batch_size=8"],
        ["seed=1", "model=resnet18", "data.batch_size=8"],
    ]
    assert expand(["seed=range(0,3)"]) == [["seed=0"], ["seed=1"], ["seed=2"]]
    assert expand(["model.widths=[8,16],[32]"]) == [["model.widths=[8,16]"], ["model.widths=[32]"]]
    assert expand(["seed=4"]) == [["seed=4"]]


@pytest.mark.parametrize("override", ["optimizer.lr=interval(0,1)", "model=glob(*)"])
def test_a_sweep_without_a_list_is_refused(override: str) -> None:
    with pytest.raises(UsageError, match=r"a sweep must list its values \(key=a,b or key=range\(1,4\)\)"):
        expand([override])


def test_a_sweep_refuses_a_fixed_choice_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="got 'cnnn'; did you mean model=cnn"):
        expand(["model=cnnn", "seed=0,1"])


def test_nothing_here_imports_torch() -> None:
    """`imgrec --help`, tables and folder look-ups depend on this to be fast."""
    code = (
        "import sys; import imgrec.config.compose, imgrec.config.identity, imgrec.config.serialize, imgrec.records,"
        " imgrec.runfolder, imgrec.summary, imgrec.help_page; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.fixture
def own_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/, to be added to, that commands read instead."""
    folder = tmp_path / "conf"
    shutil.copytree(conf_dir(), folder)
    monkeypatch.setattr(folders, "conf_dir", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_an_edited_choice_is_read_again(own_conf: Path) -> None:
    path = own_conf / "loss/mine.yaml"

    def gamma(*words: str) -> object:
        return serialize.flat(compose(["loss=mine", *words]))["loss.gamma"]

    path.write_text("# Mine.\ndefaults: [focal_schema]\ngamma: 3\n")
    stamp = path.stat()
    assert gamma() == 3
    path.write_text("# Mine.\ndefaults: [focal_schema]\ngamma: 4\n")
    assert gamma() == 4, "as large as before"
    other = own_conf.parent / "other.yaml"
    other.write_text("# Mine.\ndefaults: [focal_schema]\ngamma: 5\n")
    os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    other.replace(path)
    assert gamma() == 5, "another file in its place, as a tool that keeps times puts it there"
    assert gamma("loss.gamma=6") == 6
    assert gamma() == 5, "what one command sets is not in the next"
    path.unlink()
    with pytest.raises(UsageError, match="loss must be one of"):
        gamma()


def test_folders_that_are_links_and_links_to_nothing_are_no_obstacle(own_conf: Path) -> None:
    shutil.move(own_conf / "loss", own_conf.parent / "losses")
    (own_conf / "loss").symlink_to(own_conf.parent / "losses", target_is_directory=True)
    (own_conf.parent / "losses/back").symlink_to(own_conf, target_is_directory=True)
    (own_conf / "loss/.#focal_3.yaml").symlink_to("me@host.1234:1")  # Emacs, beside a file that it edits
    assert serialize.flat(compose(["loss=focal_3"]))["loss.gamma"] == 3
    edited = own_conf.parent / "losses/focal_3.yaml"
    edited.write_text(edited.read_text().replace("gamma: 3.0", "gamma: 7"))
    assert serialize.flat(compose(["loss=focal_3"]))["loss.gamma"] == 7


RECIPE = "# @package _global_\n# Mine.\nexperiment: mine\ndefaults:\n  - override /data: digits\n"


@pytest.mark.parametrize(
    ("file", "text", "word", "said"),
    [
        (
            "experiment/mine",
            f"{RECIPE}optimizer: {{lrscale: 3}}\n",
            "experiment=mine",
            r"optimizer.lrscale is not a key; did you mean optimizer.lr_scale\? \(Adam has lr, ",
        ),
        (
            "experiment/mine",
            f"{RECIPE}optimizer: {{lr: fast}}\n",
            "experiment=mine",
            "optimizer.lr: value 'fast' could not",
        ),
        (
            "experiment/mine",
            f"{RECIPE}triner: {{}}\n",
            "experiment=mine",
            r"triner is not a key; did you mean trainer\?",
        ),
        (
            "experiment/mine",
            f"{RECIPE}  - override /optimiser: sgd\n",
            "experiment=mine",
            r"defaults must override one of .*, got optimiser; did you mean optimizer\?",
        ),
        (
            "experiment/mine",
            f"{RECIPE}  - override /loss: msee\n",
            "experiment=mine",
            r"defaults must name one of .* for loss, got 'msee'; did you mean mse\?",
        ),
        (
            "experiment/mine",
            f"{RECIPE}loss: {{a: 3\n",
            "experiment=mine",
            r"line \d+: it must be YAML.*; mend the line",
        ),
        (
            "study/mine",
            "# Mine.\nstudy: mine\ndefaults:\n  - override /data: digits\n",
            "study=mine",
            r"a file of conf/study must begin with the line '# @package _global_', .*; add it",
        ),
        (
            "experiment/mine",
            "# Mine.\ntrainer: {max_epochs: 3}\n",
            "experiment=mine",
            r"a file of conf/experiment must begin with the line '# @package _global_', .*; add it",
        ),
        (
            "optimizer/mine",
            "# Mine.\ndefaults: [adam_schema]\nlrscale: 3\n",
            "optimizer=mine",
            r"optimizer.lrscale is not a key; did you mean optimizer.lr_scale\?",
        ),
        (
            "optimizer/mine",
            "# Mine.\ndefaults: [adma_schema]\n",
            "optimizer=mine",
            r"defaults must name one of .* for optimizer, got 'adma_schema'; did you mean adam_schema\?",
        ),
        (
            "optimizer/mine",
            "# Mine.\nlr: 3\n",
            "optimizer=mine",
            r"it must name its schema; .* defaults: \[adafactor_schema\]",
        ),
        (
            "study/mine",
            "# @package _global_\nhydra: {sweeper: {params: {optimizer.lrscale: '1,2'}}}\n",
            "study=mine",
            r"optimizer.lrscale is not a key; did you mean optimizer.lr_scale\?",
        ),
    ],
)
def test_a_slip_in_a_file_of_ones_own_names_the_file_the_key_and_the_nearest(
    own_conf: Path, file: str, text: str, word: str, said: str
) -> None:
    (own_conf / f"{file}.yaml").write_text(text)
    words = ["data=digits", word] if word != "experiment=mine" else [word]
    with pytest.raises(UsageError, match=rf"^(\S+/)?conf/{file}.yaml[:,] {said}"):
        compose([*(of_study(words) or []), *words])


ODD = [
    "~/photos",
    "~other/photos",
    "my photos",
    " photos ",
    "größe/Ærø",
    "日本/写真",
    "a=b",
    "a=b=c",
    "[x]",
    "(x)",
    "{x}",
    "$x",
    "$(x)",
    "it's",
    'say "x"',
    """it's "x\"""",
    "a\\'b\\",
    "back\\slash\\",
    "a#b;c&d!<e>`f`^",
    "1e3",
    "2024",
    "007",
    "true",
    "nan",
    "two\nlines",
    "\udcff.bytes",
    "../../.",
]


@pytest.mark.parametrize("path", ODD)
def test_a_path_is_taken_as_it_is(path: str) -> None:
    words = literal(["data=folder", f"data.root={path}"])
    assert compose(words).data.root == path
    assert literal(words) == words, "what was recorded is read again"
    (one,) = expand(literal(["data=folder", f"data.root={path}"], several=True))
    assert compose(one).data.root == path
    for key in ("hydra.run.dir", "hydra.sweep.dir", "resume"):
        assert given(literal([f"{key}={path}"]), key) == os.path.expanduser(path)  # noqa: PTH111


def test_what_the_grammar_means_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "/data")
    for word, path in (
        ("data.root='a,b'", "a,b"),
        ('data.root="~/x"', "~/x"),
        (r"data.root=a\,b", "a,b"),
        ("data.root=${oc.env:PLACE}/x", "/data/x"),
    ):
        assert literal([word]) == [word]
        assert compose(["data=folder", word]).data.root == path
    same = ["resume=null", "optimizer.lr=1e-3", "~schedule", "model.widths=[8]", "nonsense", "data.root", "=3"]
    assert literal(same) == same


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("~/a,~/b", ["~/a", "~/b"]),
        ("größe,'x,y',a=b", ["größe", "x,y", "a=b"]),
        ("a,b", ["a", "b"]),
        ("choice(a,b)", ["a", "b"]),
        ("my photos,日本", ["my photos", "日本"]),
    ],
)
def test_a_sweep_over_paths_separates_them_by_commas(value: str, paths: list[str]) -> None:
    jobs = expand(literal(["data=folder", f"data.root={value}"], several=True))
    assert [compose(job).data.root for job in jobs] == paths


def test_a_comma_is_of_a_path_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"asks for several runs; .*a path that holds commas is quoted: "):
        compose(literal(["data=folder", "data.root=a,b"]))
    Path("a,b").mkdir()
    assert compose(literal(["data=folder", "data.root=a,b"])).data.root == "a,b"
    assert compose(literal(["data=folder", "data.root=a,b"], several=True)).data.root == "a,b"
    for name in ("a", "b"):
        Path(name).mkdir()
    assert len(expand(literal(["data=folder", "data.root=a,b"], several=True))) == 2
    assert given(literal(["hydra.run.dir=new,folder"]), "hydra.run.dir") == "new,folder"


@pytest.mark.parametrize(
    "word",
    ["experiment=größe", "loss=a=b", "optimizer.lr=(1)", "study=it's", 'data="x', "loss=$(touch canary)", "seed=0;1"],
)
def test_the_advice_can_be_pasted_into_a_shell(word: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        parsed([word])
    advice = str(refused.value).rpartition("for the shell: ")[2]
    done = subprocess.run(["sh", "-c", f"printf %s {advice}"], capture_output=True, text=True, check=True, cwd=tmp_path)
    key, _, value = word.partition("=")
    assert given([done.stdout], key) == value
    assert list(tmp_path.iterdir()) == []


def test_a_composition_leaves_the_store_of_schemas_as_it_was() -> None:
    store = ConfigStore.instance()
    with own_hydra():
        compose(["data=digits", "optimizer=adam"])  # a block within a block
        assert copy.deepcopy(store) is store
    assert copy.deepcopy(store) is not store
    with pytest.raises(UsageError):
        compose(["data=digits", "optimizer=none"])
    assert "__deepcopy__" not in vars(store)
