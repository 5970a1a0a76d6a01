"""Test records of unknown origin with malicious texts: in LaTeX, Markdown, CSV and on a terminal."""

import csv
import html
import io
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import lay, of_latex, of_markdown, run, score

from imgrec import records

Said = tuple[int, str, str]
PAYLOAD = (
    "1\n\\input{/etc/passwd}\r\\write18{x}\x0b\u2028\\end{document}\n| a |\n<img src=x onerror=y>\x1b]0;x\x07[a](b)`c`"
)
SOURCES = """[[source]]
key = "=cmd"
citation = "A\\n\\\\input{b}\\u001b[31m"
model = "m\\r\\\\input{c}"
data = "d\\u2028\\\\input{d}"
training = "t"
matches = true
figures = [{setting = {optimizer = "sgd"}, metric = "top1", value = "1"}]
"""


@pytest.fixture
def hostile(runs: Path) -> Path:
    """Runs whose every text of a record's, and one folder's name, holds the payload."""
    for optimizer, name in (("sgd", "run\n\\input{e}\x1b[2J"), ("adam", "other")):
        own = run(
            f"optimizer={optimizer}",
            score("top1", 0.5),
            experiment=f"={PAYLOAD}{optimizer}",
            study=f"@{PAYLOAD}",
            environment={key: f"{key}{PAYLOAD}{optimizer}" for key in ("torch", "cpu", "commit", "imgrec")},
        )
        lay(runs, own, name)
    lay(runs, run("seed=1", status="failed", error=f"OSError: {PAYLOAD}", experiment=f"={PAYLOAD}sgd"), "failed")
    lay(runs, records.read(runs / "other" / "record.json"), "again\n\\input{f}")
    Path("own.toml").write_text(SOURCES)
    return runs


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_a_stranger_s_text_stays_in_its_place(hostile: Path, command: Callable[..., Said], form: str) -> None:
    code, out, err = command("table", str(hostile), "--format", form, "--published", "own.toml")
    assert code == 0, err
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", out + err)
    assert all(line.startswith("imgrec: ") for line in err.splitlines())
    if form == "markdown":
        of_markdown(out)  # a row or a note a line
        assert not re.search(r"(?<!\\)<img|\](?=\()|(?<!\\)`", out)
    elif form == "latex":
        of_latex(out)
        table, _, comments = out.partition("\\end{table}\n")
        assert all(line.startswith("%") for line in comments.splitlines())
        assert not re.search(r"\\(input|write18|end\{document)", table)
    else:
        cells = [cell for row in csv.reader(io.StringIO(out)) for cell in row]
        assert not [cell for cell in cells if re.match(r"[=+@\t\r]", cell)]
        assert [cell for cell in cells if cell.startswith("'=")], "the names of the runs"


def test_a_number_in_a_cell_of_csv_stays_one(runs: Path, command: Callable[..., Said]) -> None:
    for lr, top1 in ((-1, 0.5), (0.1, 0.25)):
        lay(runs, run("seed=1", score("top1", top1), run_id=f"{top1}", config={"optimizer.lr_scale": lr}), f"run{lr}")
    out = command("table", str(runs), "--format", "csv", "--baseline", "optimizer.lr_scale=0.1")[1]
    rows = {row["optimizer.lr_scale"]: row for row in csv.DictReader(io.StringIO(out))}
    assert set(rows) == {"-1", "0.1"}
    assert float(rows["-1"]["test top1 % difference"]) == 25


def test_a_command_to_paste_is_one_line(hostile: Path, command: Callable[..., Said]) -> None:
    path = hostile / "other" / "record.json"
    record = records.read(path)
    record.command = ["optimizer=adam", f"data.root=a{PAYLOAD}é'\\x", "data.name=caf\udce9"]
    lay(Path("pasted"), record, "run")
    code, _, err = command("report", "pasted", "-o", "page.html")
    assert code == 0, err
    (line,) = re.findall(r"^.*imgrec train optimizer=adam .*$", Path("page.html").read_text(), re.MULTILINE)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)
    words = html.unescape(line).partition("imgrec train ")[2]
    said = subprocess.run(["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True).stdout
    assert [os.fsdecode(word) for word in said.split(b"\0")[:-1]] == [*record.command, "hydra.mode=RUN"]
