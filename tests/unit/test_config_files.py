"""Config files are read strictly, and a broken one is reported with file and line."""

import subprocess
import sys

import pytest
import yaml
from snakemake.utils import update_config

from tests.conftest import ROOT
from tests.unit.configs import load_config
from workflow_scripts.lat.config import check_config, check_config_files, command_line_config, step_settings
from workflow_scripts.lat.config.reading import read_config_file
from workflow_scripts.lat.files import InputError

BROKEN = {
    "same section": (
        "systems:\n  A: {model: mt}\nsystems:\n  B: {model: mt}\n",
        "lines 1 and 3 both have the key `systems`; keep one",
    ),
    "same key below": (
        "decode:\n  beam: 1\n  threads: 2\n  beam: 4\n",
        "lines 2 and 4 both have the key `beam`; keep one",
    ),
    "same key in a list": (
        "experiments:\n- base_model: a\n  base_model: b\n",
        "lines 2 and 3 both have the key `base_model`; keep one",
    ),
    "same number": ("a: {0.1: x,\n 0.10: y}\n", "lines 1 and 2 both have the key `0.10`; keep one"),
    "same truth value": ("a:\n on: x\n yes: y\n", "lines 2 and 3 both have the key `yes`; keep one"),
    "tab": ("systems:\n\tA: {model: mt}\n", "line 2: a tab; indent with spaces"),
    "alias": ("seed: 1\nmodels: *nowhere\n", "line 2: found undefined alias 'nowhere'; define it with `&` further up"),
    "documents": ("seed: 1\n---\nseed: 2\n", "line 2: another document begins; a config is one document, remove"),
    "colon": ("studies: {}\nseed: 1: 2\n", "line 2: mapping values are not allowed here; check the indentation"),
    "bracket": ("detect: {lid: [a, b}\n", "line 1: did not find expected"),
    "tag": ("seed: !include other.yaml\n", "line 1: could not determine a constructor for the tag '!include'"),
    "list": ("- seed\n- 2\n", "line 1: a config consists of keys with values, such as `seed: 2`"),
    "text": ("seed\n", "line 1: a config consists of keys with values"),
    "empty": ("", "the file is empty; write a key into it, or leave the file out"),
    "comment": ("# later\n", "the file is empty; write a key into it, or leave the file out"),
    "octal": ("seed: 1\nsteps: 0100\n", "line 2: YAML reads 0100 as the number 64; write 64, or quote a text"),
    "base 60": ("label: 1:30\n", "line 1: YAML reads 1:30 as the number 90; write 90, or quote a text"),
    "date": ("seed: 2024-02-31\n", "line 1: YAML cannot read 2024-02-31 (day is out of range for month); quote it"),
    "date as a key": ("seed: 1\n2024-02-31: 2\n", "line 2: YAML cannot read 2024-02-31"),
    "list as a key": ("? [a, b]\n: c\n", "line 1: found unhashable key"),
    "control character": ("seed: 1\nlabel: \x07\n", r"line 2: the character '\x07' is not allowed; remove it"),
    "JSON": ('{"seed": 1,\n "seed": 2}', "two values of the key `seed` in one object; keep one"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_reported_with_file_and_line(tmp_path, text, message):
    path = tmp_path / "overlay.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        check_config_files([ROOT / "config.yaml", path])
    assert "\n" not in str(caught.value)
    # PyYAML's wording of brackets that do not match depends on its version.
    expected = message.replace("did not find expected", "expected")
    assert str(caught.value).startswith(f"{path}: {expected}")


def test_files_of_another_encoding(tmp_path):
    path = tmp_path / "overlay.yaml"
    path.write_bytes("seed: 1\nsystems: {Überall: {model: mt}}\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"overlay.yaml: line 2: not UTF-8 at byte 18"):
        check_config_files([path])
    path.write_bytes("seed: 1\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"overlay.yaml: line 1: not UTF-8"):
        check_config_files([path])


@pytest.mark.parametrize(
    "text",
    [
        "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n",
        "a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}\nd: {<<: [*a, *b], x: 4}\n",
        "c: &c\n  d: &d {x: 1}\n  e: {<<: *d, x: 2}\nf: {<<: *c}\n",
        "\ufeffseed: 1\n",
        '{"seed": 1,\n\t"decode": {"beam": 2}}',
        "rate: 1.0e-5\nhex: 0x1F\nlong: 1_000\nquoted: '0100'\ntime: '1:30'\nzero: 0\nnegative: -0.5\n",
        "1: a\n'1': b\n",
    ],
)
def test_what_is_meant_so_is_accepted(tmp_path, text):
    path = tmp_path / "overlay.yaml"
    path.write_text(text, encoding="utf-8")
    check_config_files([path])


def test_shipped_configs_are_read_strictly():
    paths = [ROOT / "config.yaml", *(ROOT / "configs").glob("**/*.yaml")]
    assert len(paths) > 5
    check_config_files(paths)
    assert read_config_file(ROOT / "config.yaml") == yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def test_values_of_the_command_line_are_those_of_a_file():
    config = load_config()
    # Snakemake reads the values inside a mapping as text.
    update_config(config, {"unlikelihood": {"alpha": "0.1"}, "seeds": ["3"], "detect": {"lid": ["py3langid"]}})
    arguments = ["unlikelihood={alpha: 0.1}", "seeds=[3, 4]", "replace=true", "detect='{lid: [py3langid]}'"]
    values = command_line_config(arguments)
    assert values == {
        "unlikelihood": {"alpha": 0.1},
        "seeds": [3, 4],
        "replace": True,
        "detect": {"lid": ["py3langid"]},
    }
    update_config(config, values)
    check_config(config, ROOT)
    assert config["seeds"] == [3, 4]
    settings = step_settings(config, "unlikelihood", "llama2-7b", "iwslt4", "lat")
    assert (settings["alpha"], settings["steps"]) == (0.1, 100)


def test_points_of_studies_on_the_command_line():
    config = load_config()
    update_config(config, {"studies": {"n": {"label": "x", "series": {"MT": {"0": "MT", "0.5": "LAT"}}}}})
    update_config(config, command_line_config(["studies={n: {label: x, series: {MT: {0: MT, 0.5: LAT}}}}"]))
    check_config(config, ROOT)
    assert config["studies"]["n"]["series"]["MT"] == {0: "MT", 0.5: "LAT"}


def test_a_broken_value_of_the_command_line():
    with pytest.raises(InputError, match=r"^config: --config decode: line 1: .*expected"):
        command_line_config(["decode={beam: [}"])


def test_the_command_checks_files_that_snakemake_cannot_read(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("seed: 2\n")
    bad.write_text("systems:\n\tA: {model: mt}\n")
    command = [sys.executable, "-m", "workflow_scripts.lat.config"]
    missing = tmp_path / "none.yaml"
    lines = f"{bad}: line 2: a tab; indent with spaces\n{missing}: no such file\n"
    for files, status, output in (([good], 0, ""), ([good, bad, missing], 1, lines)):
        done = subprocess.run([*command, *files], capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode, done.stderr, done.stdout) == (status, output, "")


def test_snakemake_shows_one_line_and_merges_values_of_the_command_line(tmp_path):
    def dry_run(*words):
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--dry-run"]
        command += ["--cores", "1", "--directory", str(tmp_path), *words]
        return subprocess.run(command, capture_output=True, text=True)

    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("significance: {baselines: [Base]}\ndetect: {lid: [py3langid]}\ndetect: {lid: [lid.176.ftz]}\n")
    done = dry_run("--configfile", str(overlay))
    assert done.returncode == 1 and f"{overlay}: lines 2 and 3 both have the key `detect`" in done.stderr
    assert "Traceback" not in done.stderr and ".smk" not in done.stderr

    overlay.write_text("experiments: [{base_model: tiny, benchmark: demo, systems: [LAT]}]\nadd_systems: [LAT-1]\n")
    values = ["models={lat-1: {stage: unlikelihood, from: mt, alpha: 0.1}}", "systems={LAT-1: {model: lat-1}}"]
    done = dry_run("--printshellcmds", "--configfile", str(overlay), "--config", *values)
    assert done.returncode == 0, done.stderr[-2000:]
    trained = [line for line in done.stdout.splitlines() if "workflow_scripts.unlikelihood" in line]
    assert [line.partition("--alpha ")[2].split()[0] for line in trained] in (["0.1", "0.5"], ["0.5", "0.1"])
    assert done.stderr.count("config: significance.baselines: `MT` is not among the systems of tiny on demo") == 1
