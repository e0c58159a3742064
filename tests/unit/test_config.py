"""The check of the configuration: shipped ones are valid, and a mistake gives one line with the key and the remedy."""

import copy
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from tests.conftest import ROOT
from workflow_scripts.lat.config import SCHEMA, check_config, step_settings
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.prompts import prompting


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.mark.parametrize("overlay", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_overlays_are_valid(config, overlay):
    update_config(config, yaml.safe_load(overlay.read_text()))
    check_config(config, ROOT)


def drop(key):
    def change(config):
        *parents, last = key.split(".")
        for parent in parents:
            config = config[parent]
        del config[last]

    return change


def put(key, value):
    def change(config):
        *parents, last = key.split(".")
        for parent in parents:
            config = config[parent]
        config[last] = value

    return change


def compare(system, baseline, **settings):
    def change(config):
        config["judge"] |= {"comparisons": [{"system": system, "baseline": baseline}]} | settings

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("decode.beams", 4), r"unknown key `beams` in decode; did you mean `beam`\?"),
        (put("learning_rate", 1), "unknown key `learning_rate` in the top level"),
        (drop("detect.lid"), "detect lacks the key `lid`"),
        (put("decode.beam", 0), "decode.beam: 0 is less than the minimum"),
        (put("decode.beam", "four"), "decode.beam: 'four' is not of type 'integer'"),
        (put("benchmarks.demo.languages", ["en", "it", "nl", "rо"]), "benchmarks.demo.languages: `rо` is not among"),
        (put("benchmarks.demo.zero_shot", ["it-de"]), "`it-de` is outside the benchmark.*add `de`"),
        (put("benchmarks.demo.zero_shot", ["it-it"]), "translates a language into itself"),
        (put("benchmarks.demo.zero_shot", ["en-it"]), "both supervised and zero-shot"),
        (put("benchmarks.demo.supervised", []), "supervised is empty"),
        (put("benchmarks.demo.catalogues", ["djangoo"]), r"did you mean `django`\?"),
        (put("models.mt.mix", ["alpacca"]), r"models.mt.mix: `alpacca` is not among .*did you mean `alpaca`\?"),
        (compare("LAT", "Nobody"), "judge.comparisons.0.baseline: `Nobody` is not among the systems"),
        (compare("LAT", "LAT"), "compares `LAT` with itself"),
        (compare("LAT", "5-shot"), "`5-shot` has `shots`, which is for translations"),
        (compare("LAT", "PTL"), "`PTL` has `prompt_language`"),
        (compare("LAT", "MT", instructions="nothing"), "judge.instructions: `nothing` is not among the sets"),
        (compare("LAT", "MT", max_cost=5), "judge.max_cost needs judge.prices"),
        (compare("LAT", "MT", base_url="api.openai.com"), "judge.base_url: 'api.openai.com' does not .*http://"),
        (compare("LAT", "MT", key="sk-proj-123"), "judge.key names the environment variable .* not the key itself$"),
        (put("benchmarks.demo.demonstrations", 1), "demonstrations is 1, but a system shows 5"),
        (
            put("systems.LAT.model", "latt"),
            r"systems.LAT.model: `latt` is not among the models; did you mean `lat`\?",
        ),
        (drop("models.lat"), "systems.LAT.model: `lat` is not among the models"),
        (put("models.lat.from", "base"), "models.lat.from: `base` is not among the stage-1 models"),
        (put("benchmarks.demo.languages", ["it", "nl", "ro"]), "lacks `en`"),
        (put("benchmarks.demo.min_words", 50), "min_words is above max_words"),
        (drop("benchmarks.demo.test_rows"), "benchmarks.demo lacks the key `test_rows`"),
        (put("systems.reference", {"model": "mt"}), "systems.reference is reserved"),
        (put("systems.C_src+lang.beam", 4), "contrastive decoding is greedy; set its `beam: 1`"),
        (put("base_models.tiny.gpus", 5), "batch_size 16 of `mt` is not a multiple of the 5 processes"),
        (put("finetune.learning_rate", "2e-5"), "write it with a point, such as 2.0e-5"),
        (put("benchmarks.demo.zero_shot", ["it-dutch"]), "a direction is two codes such as `it-nl`"),
        (put("models.lat.stage", "unlikelyhood"), r"models.lat.stage: .* did you mean `unlikelihood`\?"),
        (drop("models.lat.from"), "models.lat lacks the key `from`"),
        (put("models.mt.alpha", 0.1), "unknown key `alpha` in models.mt"),
        (put("models.base", {"stage": "finetune"}), "models.base is reserved"),
        (put("systems.PTL.prompt_language", "nl"), "systems.PTL.prompt_language: 'nl' is not one of"),
        (put("base_models.tiny.hub", "a/b"), "needs exactly one of `build`, `hub`, `path`"),
        (put("base_models.tiny.deepspeed", "no.json"), "no file `no.json`"),
        (put("base_models.other", {"path": "nowhere", "deepspeed": "configs/deepspeed/cpu.json"}), "`nowhere` is no"),
        (
            put("studies", {"alpha": {"label": "weight", "series": {"LAT": {0.5: "LAT_"}}}}),
            r"studies.alpha.series.LAT.0.5: `LAT_` is not among .*did you mean `LAT`\?",
        ),
        (put("benchmarks.iwslt4.catalogues", ["django"]), "benchmarks.iwslt4 lacks the key `lid`"),
        (drop("benchmarks.iwslt4.corpora"), "iwslt4 needs exactly one of `catalogues`, `corpora`"),
        (put("benchmarks.iwslt4.test_rows", 9), "iwslt4.test_rows is for `catalogues`"),
        (put("benchmarks.demo.both_ways", True), "demo.both_ways is for `corpora`"),
        (put("benchmarks.iwslt4.corpora.train", {"iwslt17-tran": ["train"]}), r"did you mean `iwslt17-train`\?"),
        (put("benchmarks.wmt.corpora.test", {"sacrebleu": ["wmt2022"]}), r"did you mean `wmt2\d`\?"),
        (put("benchmarks.wmt.corpora.test", {"sacrebleu": ["wmt21"]}), "`en-uk` is not among the directions of wmt21"),
        (put("benchmarks.iwslt4.corpora.test", {"local": ["data/mine"]}), r"no files `data/mine\.\*`"),
        (
            put("base_models.tiny.decode.early_stopping", False),
            "early_stopping is false, but engine ctranslate2 supports only true",
        ),
        (put("base_models.tiny.decode.engine", "vllm"), "early_stopping is true, but engine vllm supports only false"),
        (put("significance.baseline", "MTT"), r"did you mean `MT`\?"),
        (put("benchmarks.demo.paper", "table2"), "benchmarks.demo.paper: `table2` is not among the tables"),
        (put("base_models.tiny.paper", "LLaMA4"), r"did you mean `LLaMA"),
        (put("detect.lid", ["lid.176.fzt"]), r"did you mean `lid.176.ftz`\?"),
        (
            put("experiments", [{"base_model": "tiny", "benchmark": "demo", "systems": ["LAT_"]}]),
            r"experiments.0.systems: `LAT_` is not among the systems; did you mean `LAT`\?",
        ),
    ],
)
def test_mistakes_name_the_key_and_the_remedy(config, change, message):
    change(config)
    with pytest.raises(InputError, match=message) as caught:
        check_config(config, ROOT)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("config: ")


def test_a_missing_language_name_is_reported_before_any_job(config, monkeypatch):
    wordings = copy.deepcopy(prompting.wordings())
    del wordings["nl"]["names"]["ro"]
    monkeypatch.setattr(prompting, "wordings", lambda: wordings)
    with pytest.raises(InputError, match=r"resources/prompts.yaml: no entry 'ro' for the instruction ro-nl in nl"):
        check_config(config, ROOT)
    config["experiments"][0]["systems"].remove("PTL")  # the only system with prompts in the target language
    check_config(config, ROOT)


def test_benchmark_base_model_and_model_override_the_settings_of_a_step(config):
    config = copy.deepcopy(config)
    config["unlikelihood"]["alpha"] = 0.01
    config["base_models"]["tiny"]["unlikelihood"] = {"alpha": 0.02, "steps": 7}
    config["benchmarks"]["demo"]["unlikelihood"] = {"steps": 6, "batch_size": 3}
    config["models"]["lat"]["alpha"] = 0.03
    settings = step_settings(config, "unlikelihood", "tiny", "demo", "lat")
    assert (settings["alpha"], settings["steps"], settings["batch_size"]) == (0.03, 7, 3)
    assert settings["learning_rate"] == config["unlikelihood"]["learning_rate"]


def test_step_defaults_and_schema_have_the_same_keys(config):
    schema = yaml.safe_load(Path(SCHEMA).read_text())
    for step in ("finetune", "unlikelihood", "decode"):
        assert set(config[step]) == set(schema["$defs"][step]["properties"]), step
    assert set(config) == set(schema["properties"])


def test_step_defaults_are_the_published_settings(config):
    stage1, stage2 = config["finetune"], config["unlikelihood"]
    assert (stage1["learning_rate"], stage1["batch_size"], stage1["epochs"], stage1["max_length"]) == (
        2e-5,
        128,
        3,
        512,
    )
    assert (stage2["learning_rate"], stage2["batch_size"], stage2["steps"], stage2["alpha"]) == (2e-6, 8, 100, 0.05)
    assert stage1["warmup_ratio"] == stage2["warmup_ratio"] == 0.03
    assert stage1["weight_decay"] == stage2["weight_decay"] == 0
    assert stage2["conflicts"] == "instruction"
    assert (config["decode"]["beam"], config["decode"]["max_new_tokens"]) == (4, 512)
