"""Test tables for a paper: names, order, hidden rows and columns, caption, label, numbers for siunitx."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import Shown, lay_sweep, of_csv, of_latex, of_markdown

Said = tuple[int, str, str]


@pytest.fixture
def runs(runs: Path) -> Path:
    """Two optimizers by two losses; one setting has one run, one has failures."""
    rows = {
        "optimizer=sgd loss=mse": [{"top1": 0.50, "ece": 0.1}, {"top1": 0.52, "ece": 0.2}],
        "optimizer=adam loss=mse": [{"top1": 0.90, "ece": 0.1}, {"top1": 0.92, "ece": 0.3}],
        "optimizer=sgd loss=cross_entropy": [{"top1": 0.70, "ece": 0.1}],
        "optimizer=adam loss=cross_entropy": ["failed", "failed"],
    }
    lay_sweep(runs, rows, cost={"seconds": 3.0, "parameters": 10})
    Path("names.toml").write_text(
        'optimizer = "Optimizer"\n"optimizer=sgd" = "SGD"\n"optimizer=adam" = "Adam & co | $x$"\n'
        '"loss=mse" = "Brier"\n"test top1" = "Accuracy (%)"\n'
    )
    return runs


def test_names_stand_in_cells_headers_and_sentences(table: Callable[..., Shown], command: Callable[..., Said]) -> None:
    words = ("--names", "names.toml", "--baseline", "optimizer=sgd")
    shown = table(*words)
    assert shown.header[:5] == ["loss", "Optimizer", "n", "runs", "Accuracy (%)"]
    assert {row["Optimizer"] for row in shown.rows} == {"SGD", "Adam & co | $x$"}
    assert {row["loss"] for row in shown.rows} == {"cross_entropy", "Brier"}
    assert "the difference of means to SGD" in shown.note("Δ")
    assert shown.verdict.startswith("Accuracy (%): ")
    assert "optimizer=" not in shown.verdict
    assert of_csv(command("table", "outputs", *words, "--format", "csv")[1])[0]["Optimizer"].startswith("Adam")
    pivoted = table("--names", "names.toml", "--columns", "loss")
    assert pivoted.header == ["Optimizer", "loss=cross_entropy", "Brier"]


@pytest.mark.parametrize(
    ("words", "lines", "said"),
    [
        (
            "--columns loss",
            '"optimizer=sgd" = "X"\n"optimizer=adam" = "X"',
            "optimizer=adam and optimizer=sgd are both",
        ),
        ("--columns loss", '"optimizer=sgd" = "adam"', "optimizer=adam and optimizer=sgd are both called 'adam'; "),
        ("--sort top1", '"optimizer" = "X"\n"loss" = "X"', "loss and optimizer are both called 'X'; "),
        ("--scores top1,ece", '"test top1" = "X"\n"ece" = "X"', "test top1 and test ece are both called 'X'; "),
    ],
)
def test_one_name_for_two_things_is_refused(
    refusal: Callable[..., str], table: Callable[..., Shown], runs: Path, words: str, lines: str, said: str
) -> None:
    Path("same.toml").write_text(lines)
    sentence = refusal(*words.split(), "--names", "same.toml")
    assert said in sentence
    way_out = sentence.partition("; change one of them, such as ")[2]
    kept = [line for line in lines.splitlines() if not line.startswith(way_out.partition(" = ")[0])]
    Path("same.toml").write_text("\n".join([*kept, way_out]))
    assert table(*words.split(), "--names", "same.toml").rows


def test_why_a_lead_is_doubted_is_told_in_full_beside_names(command: Callable[..., Said], workplace: Path) -> None:
    lay_sweep(Path("single"), {"loss=mse": [0.8], "loss=brier": [0.7]})
    Path("names.toml").write_text('"loss=mse" = "MSE, on logits"')
    assert of_markdown(command("table", "single", "--names", "names.toml")[1]).verdict == (
        "test top1 %: can't tell which is best; MSE, on logits leads loss=brier by 10.00 points (1 seed each, these"
        " images); their runs tell nothing of the spread."
    )


def test_rows_are_in_the_order_that_was_asked_for(table: Callable[..., Shown]) -> None:
    def order(*words: str) -> list[tuple[str, str]]:
        return [(row["optimizer"], row["loss"]) for row in table(*words).rows]

    assert order("--sort", "top1") == [
        ("adam", "mse"),
        ("sgd", "cross_entropy"),
        ("sgd", "mse"),
        ("adam", "cross_entropy"),
    ]
    assert order("--scores", "top1,ece", "--sort", "ece")[0] == ("sgd", "cross_entropy"), "the lower the better"
    assert [optimizer for optimizer, _ in order("--sort", "optimizer")] == ["adam", "adam", "sgd", "sgd"]


def test_what_is_hidden_is_not_there_and_failures_stay(table: Callable[..., Shown]) -> None:
    words = ("--baseline", "optimizer=sgd")
    header = ["loss", "optimizer", "n", "runs", "test top1 %", "95 %", "Δ test top1 %", "p"]
    header += ["parameters", "seconds"]  # which a setting without a finished run does not have
    assert table(*words).header == header
    assert table(*words, "--hide", "n,p,interval").header == [
        "loss",
        "optimizer",
        "runs",
        "test top1 %",
        "Δ test top1 %",
        *header[-2:],
    ]
    hidden = table(*words, "--hide", "std,difference,parameters,seconds")
    assert hidden.row("mse", "sgd")["test top1 %"] == "51.00"
    assert hidden.header == [*header[:6], "p"]
    assert table("--columns", "loss", "--hide", "std").row("sgd")["loss=mse"] == "51.00"


def test_latex_has_the_caption_and_the_label(command: Callable[..., Said], runs: Path) -> None:
    words = ("--caption", "Optimizers & losses", "--label", "tab:optimizers", "-o", "new.tex")
    assert command("table", str(runs), *words) == (0, "new.tex\n", "")
    text = Path("new.tex").read_text()
    assert of_latex(text).verdict == "Optimizers & losses."
    assert text.index(r"\caption{") < text.index(r"\label{tab:optimizers}") < text.index(r"\begin{tabular}")
    assert text.index(r"\end{tabular}") < text.index(r"\begin{tablenotes}") < text.index(r"\end{threeparttable}")


def test_a_caption_is_one_paragraph(command: Callable[..., Said], runs: Path) -> None:
    text = command("table", str(runs), "--format", "latex", "--caption", " Optimizers\n\nand losses\r\n")[1]
    assert r"\caption{Optimizers and losses.}" in map(str.strip, text.splitlines())


@pytest.mark.parametrize("option", ["--caption", "--label"])
@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_text_for_latex_is_refused(refusal: Callable[..., str], runs: Path, option: str, text: str) -> None:
    rule = {"--caption": "have words", "--label": "be of letters, digits and -_:./"}[option]
    assert refusal(option, text, "--format", "latex").startswith(f"{option} must {rule}, got {text!r}; ")
    assert refusal(option, text).startswith(f"{option} is of --format latex, and this is markdown; ")


def test_siunitx_aligns_numbers_and_leaves_texts(command: Callable[..., Said], runs: Path) -> None:
    text = command("table", str(runs), "--format", "latex", "--siunitx", "--scores", "top1,ece")[1]
    assert text.splitlines()[:2] == [
        r"% needs \usepackage{booktabs,threeparttable,siunitx}",
        r"% and \sisetup{separate-uncertainty, detect-weight}",
    ]
    (kinds,) = re.findall(r"\\begin\{tabular\}\{(.*)\}", text)
    assert re.sub(r"\[.*?\]", "", kinds) == "llSlSrSrSS"
    assert "S[table-format=2.2(3)]" in kinds
    (failed,) = [line for line in text.splitlines() if "0/2 (2 failed)" in line]
    assert r"{\textendash{}}" in failed
    assert r"51.00 \pm 1.41" in text
    markdown = of_markdown(command("table", str(runs), "--scores", "top1,ece")[1])
    assert len(kinds) > len(markdown.header)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "--sort acc",
            "--sort acc must be a score or a factor of the table, and is neither; there are top1, loss, opt",
        ),
        ("--sort optimiser", "--sort optimiser must be a score or a factor of the table, and is neither; did you mean"),
        ("--hide runs", "--hide must be of n, std, interval, new_images, difference, p, published, parameters, flops,"),
        ("--hide intervall", "--hide must be of n, std, interval, "),
        ("--hide p --format csv", "--hide is for tables that people read, and csv has every number; choose columns"),
        ("--caption Optimizers", "--caption is of --format latex, and this is markdown; leave it out, or give -o tab"),
        ("--label tab:a --format csv", "--label is of --format latex, and this is csv"),
        ("--siunitx", "--siunitx is of --format latex, and this is markdown"),
        ("--format latex --label {x}", "--label must be of letters, digits and -_:./, got '{x}'; such as tab:"),
    ],
)
def test_a_wrong_word_is_refused(refusal: Callable[..., str], runs: Path, words: str, sentence: str) -> None:
    assert refusal(*words.split()).startswith(sentence)
