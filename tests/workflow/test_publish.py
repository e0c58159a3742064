"""A trained model of a finished run is published, and nothing else is made for it."""

import json
import re
from contextlib import redirect_stdout
from io import StringIO
from itertools import permutations

from workflow_scripts.lat.files import read_lines
from workflow_scripts.lat.publishing.card import code_of_card

NAMES = {"en": "English", "it": "Italian", "nl": "Dutch", "ro": "Romanian"}
PUBLISH = {"publish": {"model": "lat", "seed": 2, "licence": "apache-2.0"}}


def test_the_folder_translates_as_the_run_did(finished, monkeypatch):
    done = finished.snakemake("publish", "--cores", "2", overlay=PUBLISH)
    assert dict(re.findall(r"^(\w+) +(\d)$", done.stderr, re.MULTILINE)) == {
        "publish": "1", "publish_folder": "1", "total": "2",
    }  # fmt: skip
    folder = "publish/tiny/demo/seed2/lat"
    code = code_of_card(finished.text(f"{folder}/README.md"))
    assert len(code) == 5
    # As a user does: in the folder of the run, since the card names the model relative to it.
    monkeypatch.chdir(finished.folder)
    with redirect_stdout(StringIO()) as printed:
        exec("\n".join(code), {})
    results = finished.folder / "results"
    (direction,) = [
        f"{source}-{target}"
        for source, target in permutations(NAMES, 2)
        if f"source={NAMES[source]!r}, target={NAMES[target]!r}" in code[3]
    ]
    sources = read_lines(results / f"download/demo/test/{direction}.src.txt")
    (number,) = [number for number, source in enumerate(sources) if f"text={source!r}" in code[3]]
    translation = read_lines(results / f"decode/tiny/demo/seed2/LAT/{direction}.txt")[number]
    assert printed.getvalue() == f"{translation}\n"
    assert json.loads(finished.text(f"{folder}/generation_config.json"))["num_beams"] == 4


def test_publish_changes_no_other_job(finished):
    assert finished.planned(PUBLISH) == {}


def test_without_a_model_nothing_starts(finished):
    done = finished.snakemake("publish", "--cores", "2", check=False)
    assert done.returncode != 0
    assert "config: publish is null; name the model, such as `make publish MODEL=lat`" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_token_is_required_before_any_job(finished, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    overlay = {"publish": PUBLISH["publish"] | {"repository": "my-name/my-model", "push": True}}
    done = finished.snakemake("publish", "--cores", "2", overlay=overlay, check=False)
    assert done.returncode != 0 and "publish.push: the environment variable HF_TOKEN is not set" in done.stderr
    assert not list(finished.folder.glob("results/publish/**/*.pushed.json"))
