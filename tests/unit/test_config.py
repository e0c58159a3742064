"""The check of the configuration: shipped ones are valid, and a mistake gives one line with the key and the remedy."""

import copy
import dataclasses
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.unit.configs import Change, drop, load_config, overlay, put
from workflow_scripts.lat.config import (
    SCHEMA,
    baseline_warnings,
    benchmarks,
    check_config,
    check_licences,
    controls_of,
    hypotheses_files,
    rating_server,
    references,
    runs_of,
    server_settings,
    step_settings,
    systems,
    used_models,
)
from workflow_scripts.lat.data.sources import TERMS, read_sources
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.languages import language
from workflow_scripts.lat.prompts import prompting


@pytest.fixture
def config():
    return load_config()


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "configs").glob("*.yaml")))
def test_shipped_overlays_are_valid(name):
    check_config(load_config(name), ROOT)


def compare(system, baseline, **settings):
    def change(config):
        config["judge"] |= {"comparisons": [{"system": system, "baseline": baseline}]} | settings

    return change


def on_server(settings="", more=""):
    """Return a change that adds a system on a server, and uses it."""
    server = {"base_url": "http://host/v1", "model": "m"} | yaml.safe_load(f"{{{settings}}}")
    return overlay(yaml.safe_dump({"systems": {"Other": {"server": server} | yaml.safe_load(f"{{{more}}}")}}))


def gguf(*parts):
    return put("base_models.mine", {"gguf": [*parts], "deepspeed": "configs/deepspeed/cpu.json"})


def preference(settings: str) -> Change:
    """Return a change that adds a model with a preference loss, and a system that uses it."""
    return overlay(
        f"""
        models: {{mine: {{stage: preference, from: mt, {settings}}}}}
        systems: {{Mine: {{model: mine}}}}
        add_systems: [Mine]
        """
    )


def learn(**settings):
    return put("score.learned.X", {"kind": "bleurt"} | settings)


def rated(settings="", **more):
    """Return a change that adds a metric on a server."""
    server = {"base_url": "http://host/v1", "model": "m"} | yaml.safe_load(f"{{{settings}}}")
    return put("score.learned.X", {"kind": "gemba", "scale": "da", "server": server} | more)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            put("benchmarks.demo.languages", ["en", "it", "nl", "rо"]),
            "benchmarks.demo.languages: `rо` is no code of a language; codes are those of CLDR",
        ),
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
        (put("systems.C_src+lang.language_boost", 1), "has both `contrasts` and `language_boost`; make two systems"),
        (put("systems.Base.language_boost", 1), "Base.language_boost: the base model has no training text"),
        (put("systems.LAT.language_boost", 0), r"systems.LAT.language_boost"),
        (put("systems.C_src+lang.beam", 4), "contrastive decoding is greedy; set its `beam: 1`"),
        (drop("models.lat.from"), "models.lat lacks the key `from`"),
        (put("models.mt.alpha", 0.1), "unknown key `alpha` in models.mt"),
        (put("models.base", {"stage": "finetune"}), "models.base is reserved"),
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
            put("base_models.tiny.decode", {"engine": "ctranslate2"}),
            "early_stopping is false, but engine ctranslate2 supports only true",
        ),
        (
            put("base_models.tiny.decode", {"shards": 13}),
            r"tiny\.decode\.shards is 13, but demo has 12 directions to share among the jobs; set it to 12 or less",
        ),
        (put("significance.baselines", ["MT", "MTT"]), r"did you mean `MT`\?"),
        (put("benchmarks.demo.paper", "table2"), "benchmarks.demo.paper: `table2` is not among the tables"),
        (put("base_models.tiny.paper", "LLaMA4"), r"did you mean `LLaMA"),
        (put("detect.lid", ["lid.176.fzt"]), r"did you mean `lid.176.ftz`\?"),
        (
            put("experiments", [{"base_model": "tiny", "benchmark": "demo", "systems": ["LAT_"]}]),
            r"experiments.0.systems: `LAT_` is not among the systems; did you mean `LAT`\?",
        ),
        (put("add_systems", ["LAT_"]), r"add_systems: `LAT_` is not among the systems; did you mean `LAT`\?"),
        # Parts and languages that a corpus lacks.
        (
            put("benchmarks.iwslt4.corpora.demonstrations", {"flores200": ["test"]}),
            r"iwslt4.corpora.demonstrations.flores200: flores200 has the parts dev, devtest, not `test`; choose one",
        ),
        (
            put("benchmarks.iwslt4.corpora.test", {"iwslt17-train": ["tst2017"]}),
            "iwslt17-train has the parts train, dev2010, tst2010, not `tst2017`; it is in iwslt17-test",
        ),
        (put("benchmarks.iwslt4.corpora.test", {"iwslt17-test": ["train"]}), "not `train`; it is in iwslt17-train"),
        (
            put("benchmarks.wmt.corpora.train", {"iwslt17-train": ["train"]}),
            "no `en-zh` in iwslt17-train, whose languages",
        ),
        (
            put("benchmarks.iwslt4.corpora.test", {"wmt24pp": ["sports"]}),
            "wmt24pp has the parts all, literary, news, social, speech, not `sports`; choose one",
        ),
        # Filters of corpora.
        (
            put("benchmarks.demo.filters", ["markup"]),
            "demo.filters is for `corpora`; catalogues always have",
        ),
        (
            put("benchmarks.iwslt4.filters", ["marcup"]),
            r"filters: `marcup` is not among .* did you mean `markup`\?",
        ),
        (
            put("benchmarks.iwslt4.filters", [{"LengthFilter": {"max_words": 9}}]),
            r"unknown key `max_words` in benchmarks.iwslt4.filters.0.LengthFilter; known: min_length max_length unit",
        ),
        (put("benchmarks.iwslt4.filters", [{"lenght_ratio": {}}]), r"`lenght_ratio` .*; did you mean `length_ratio`\?"),
        (
            put("benchmarks.iwslt4.filters", [{"markup": {}, "numbers": {}}]),
            "filters.0 has 2 filters, markup and numbers; begin each with a dash",
        ),
        (
            put("benchmarks.iwslt4.filters", [{"LengthFilter": {"min_length": 101}}]),
            "filters.0: min_length is above max_length, which is 100; no pair would be left",
        ),
        (
            put("benchmarks.iwslt4.filters", ["language"]),
            "iwslt4.filters: `language` needs a language identifier; add `lid: lid.176.ftz` to benchmarks.iwslt4",
        ),
        (
            put("benchmarks.iwslt4.lid", "lid.176.ftz"),
            "iwslt4.lid is for `catalogues` or the filter `language`",
        ),
        # Files of another kind.
        (put("detect.lid", ["README.md"]), "detect.lid: `README.md` is no fastText model; use lid.176.ftz"),
        (put("detect.lid", ["alpaca"]), "detect.lid: `alpaca` is not among the identifiers"),
        (put("benchmarks.demo.lid", "BLEURT-20"), "benchmarks.demo.lid: `BLEURT-20` is not among the identifiers"),
        (put("base_models.tiny.deepspeed", "README.md"), "base_models.tiny.deepspeed: README.md: .*not JSON"),
        (gguf("lid.176.ftz"), "base_models.mine.gguf: `lid.176.ftz` is not among the GGUF files in"),
        (gguf("README.md"), "base_models.mine.gguf: `README.md` is no GGUF file"),
        (
            gguf(*(f"gemma3-270m-part{number}" for number in (1, 3, 2, 4))),
            r"base_models.mine.gguf: the parts have the numbers \[0, 2, 1, 3\]; name all parts, in their order",
        ),
        (put("accept_licences", ["LicenseRef-Gema"]), r"accept_licences: .*did you mean `LicenseRef-Gemma`\?"),
        (gguf("gemma3-270m-prt1"), r"base_models.mine.gguf: .*did you mean `gemma3-270m-part\d`\?"),
        (learn(model="lid.176.bin"), "learned.X.model: the row `lid.176.bin` of resources/sources.tsv is no bleurt"),
        (learn(kind="comet", model="BLEURT-20"), "the row `BLEURT-20` of resources/sources.tsv is no comet checkpoint"),
        (learn(model="BLEURT-2O"), r"score.learned.X.model: .*did you mean `BLEURT-20`\?"),
        (learn(model="https://huggingface.co/a/b"), "is an address; write the id alone: a/b"),
        (learn(kind="comet", model="a/b", revision="main"), "revision is for `kind: bleurt or metricx`, not for comet"),
        (learn(kind="comet"), "score.learned.X lacks the key `model`, which `kind: comet` needs"),
        (learn(kind="comet", model="a/b", dtype="bf16"), "learned.X.dtype is for `kind: metricx`, not for comet"),
        (learn(kind="metricx", tokenizer="a/b"), "learned.X lacks the key `model`, which `kind: metricx` needs"),
        (learn(kind="metricx", model="BLEURT-20"), "learned.X.model: the row `BLEURT-20` .* is no metricx checkpoint"),
        (learn(kind="metricx", model="a"), "learned.X.model: `a` is neither a hub id such as google/metricx-24-.* nor"),
        (learn(kind="metricx", model="a/b", tokenizer="mt5"), "learned.X.tokenizer: `mt5` is neither a hub id such as"),
        (
            learn(kind="metricx", model="a/b", tokenizer="https://huggingface.co/google/mt5-xl"),
            "learned.X.tokenizer: .* is an address; write the id alone: google/mt5-xl",
        ),
        (learn(kind="metricx", model="a/b", python="p"), "learned.X.python is for `kind: bleurt or comet`, not for m"),
        (learn(kind="metricx", model="a/b", dtype="fp16"), "learned.X.dtype: .*fp16.* is not among the allowed values"),
        (learn(model="a/b", python="p", scale="da"), "learned.X.scale is for `kind: gemba`, not for bleurt"),
        (rated(model="a/b"), "learned.X.model is for `kind: bleurt or comet or metricx`, not for gemba"),
        (rated(python="p"), "learned.X.python is for `kind: bleurt or comet`, not for gemba"),
        (put("score.learned.X", {"kind": "gemba", "scale": "da"}), "X lacks the key `server`, which `kind: gemba`"),
        (put("score.learned.X", {"kind": "gemba", "server": {}}), "score.learned.X.server lacks the key `base_url`"),
        (rated(scale="mqm"), "score.learned.X.scale: .*mqm.* is not among the allowed values"),
        (rated(reference="yes"), "score.learned.X.reference"),
        (rated("request: {model: other}"), r"X.server.request.model: .*; set score.learned.X.server.model$"),
        (rated("request: {n: 2}"), "X.server.request.n: the workflow sets this field itself; remove it"),
        (rated("max_cost: 5"), "learned.X.server.max_cost needs score.learned.X.server.prices to be"),
        (rated("prices: {prompt: 5}"), "score.learned.X.server.prices lacks the key `completion`"),
        (rated("temperature: 0"), "unknown key `temperature` in score.learned.X.server"),
        (rated("base_url: host/v1"), "score.learned.X.server.base_url is not the address of a server"),
        (rated("key: sk-proj-0123456789abcdef"), "X.server.key names the environment variable that"),
        # Methods of stage 2.
        (
            overlay("""
            models: {mine: {stage: preference, from: lat}}
            """),
            "models.mine.from: `lat` is not among the stage-1 models",
        ),
        (
            preference("weight: 0, loss: dpo"),
            "`mine` has `weight: 0` and `likelihood: 0` .* set `likelihood: 1` to train on the chosen responses alone",
        ),
        (
            overlay("""
            benchmarks: {demo: {zero_shot: []}}
            models: {lat: {conflicts: confusion}}
            """),
            "`lat` has `conflicts: confusion`, but no zero-shot direction of demo begins with a source language",
        ),
        (
            overlay("""
            models: {mine: {stage: preference, from: mt, steps: 30}, late: {stage: snapshot, from: mine, step: 31}}
            """),
            "models.late.step: 31 is beyond the end of `mine`, which has 30 steps",
        ),
        # Settings that contradict each other.
        (put("benchmarks.demo.test_min_words", 50), "test_min_words is above max_words"),
        (put("base_models.tiny.attention", "flash_attention_2"), "tiny.attention: flash_attention_2 needs a GPU"),
        # Names that collide in paths.
        (
            lambda config: put("benchmarks.corpora", config["benchmarks"]["demo"])(config),
            "benchmarks.corpora is the name",
        ),
        (
            overlay("{systems: {MT.B: {model: mt}}, score: {learned: {B: {kind: bleurt, model: BLEURT-20}}}}"),
            "systems: B of system MT and system MT.B have the same file MT.B.tsv; rename a system",
        ),
        (
            overlay("{systems: {MT.B.lines: {model: mt}}, score: {learned: {B: {kind: bleurt, model: BLEURT-20}}}}"),
            "have the same file MT.B.lines.tsv",
        ),
        (
            lambda config: [overlay("systems: {A-against-B: {model: mt}}")(config), compare("LAT", "MT")(config)],
            "systems.A-against-B: `-against-` stands between two systems",
        ),
        # What the workflow sets itself.
        (put("judge.request.model", "other"), "judge.request.model: .*set judge.model"),
        (put("judge.request.messages", []), "judge.request.messages: the workflow sets this field itself; remove it"),
        (put("judge.request.stream", True), "judge.request.stream"),
        (put("judge.request.n", 2), "judge.request.n"),
        # Systems from outside of the workflow.
        (overlay("systems: {Other: {}}"), "systems.Other needs exactly one of `model`, `hypotheses`, `server`"),
        (overlay("systems: {Other: {model: mt, hypotheses: a}}"), "systems.Other needs exactly one of"),
        (
            overlay("systems: {Other: {hypotheses: a, shots: 1}}"),
            "systems.Other.shots is for systems that the workflow",
        ),
        (
            overlay("{systems: {Other: {hypotheses: missing}}, add_systems: [Other]}"),
            "systems.Other.hypotheses: no folder `missing`",
        ),
        (
            overlay("{systems: {Other: {hypotheses: tests}}, add_systems: [Other]}"),
            "systems.Other.hypotheses: 12 of the 12 directions of demo have no file, such as .*tests/en-it.txt; add",
        ),
        (
            overlay("{systems: {Other: {hypotheses: tests}}, experiments: [{benchmark: demo, systems: [MT, Other]}]}"),
            "experiments.0.base_model is missing, and `MT` needs one",
        ),
        (
            overlay("base_models: {external: {path: a, deepspeed: configs/deepspeed/cpu.json}}"),
            "base_models.external is reserved",
        ),
        (
            lambda config: [
                overlay("systems: {Other: {hypotheses: tests}}")(config),
                compare("Other", "MT")(config),
            ],
            "judge.comparisons.0.system: `Other` has translations, but no answers",
        ),
        (
            overlay("systems: {Other: {hypotheses: a, server: {base_url: http://host/v1, model: m}}}"),
            "systems.Other needs exactly one of",
        ),
        (on_server(more="beam: 1"), "systems.Other.beam is for systems that .*, or replace `server` by `model`"),
        (on_server(more="shots: 1"), "systems.Other.shots is for"),
        (on_server(more="shots_layout: each"), "systems.Other.shots_layout is for"),
        (on_server(more="prompt_language: target"), "systems.Other.prompt_language is for"),
        (on_server(more="contrasts: [{target: en, weight: -0.1}]"), "systems.Other.contrasts is for"),
        (on_server("request: {model: other}"), r"Other.server.request.model: .*; set systems.Other.server.model$"),
        (on_server("request: {stream: true}"), "systems.Other.server.request.stream: the workflow sets this field"),
        (on_server("max_cost: 5"), "systems.Other.server.max_cost needs systems.Other.server.prices to be"),
        (on_server("prices: {prompt: 5}"), "systems.Other.server.prices lacks the key `completion`"),
        (on_server("temperature: 0"), "unknown key `temperature` in systems.Other.server"),
        (on_server("parallel: 0"), "systems.Other.server.parallel: 0 is less than"),
        (on_server("timeout: 5"), "unknown key `timeout` in systems.Other.server"),
        (on_server("model: ''"), "systems.Other.server.model"),
        (on_server("base_url: host/v1"), "systems.Other.server.base_url is not the address of a server"),
        (on_server("base_url: 'https://me:secret@host/v1'"), "systems.Other.server.base_url has a user name"),
        (on_server("base_url: 'https://host/v1?api_key=x'"), "systems.Other.server.base_url has a key or a token"),
        (on_server("key: sk-proj-0123456789abcdef"), "systems.Other.server.key names the environment variable that"),
        (on_server("key: 5"), "systems.Other.server.key: 5 is a number"),
        (overlay("systems: {Other: {server: {base_url: http://host/v1}}}"), "systems.Other.server lacks .* `model`"),
        (overlay("systems: {Other: {server: http://host/v1}}"), "systems.Other.server: .*is not a mapping"),
        (
            lambda config: [on_server()(config), compare("Other", "MT")(config)],
            "judge.comparisons.0.system: `Other` has translations, but no answers",
        ),
        # Snapshots beyond the end of a training, whether or not a system uses them.
        (
            overlay("models: {lat-9999: {stage: snapshot, from: lat, step: 9999}}"),
            "models.lat-9999.step: 9999 is beyond the end of `lat`, which has 100 steps; lower it",
        ),
        (
            overlay(
                "{models: {lat-80: {stage: snapshot, from: lat, step: 80}}, systems: {LAT-80: {model: lat-80}},"
                " add_systems: [LAT-80], base_models: {tiny: {unlikelihood: {steps: 4}}}}"
            ),
            "experiments.0: `lat-80` is step 80 of `lat`, which has 4; lower it",
        ),
    ],
)
def test_mistakes_name_the_key_and_the_remedy(config, change, message):
    change(config)
    with pytest.raises(InputError, match=message) as caught:
        check_config(config, ROOT)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("config: ")


def test_added_systems_are_in_every_experiment_once(config):
    shared = ["MT", "LAT"]
    entries = [{"base_model": "tiny", "benchmark": name, "systems": shared} for name in ("demo", "iwslt4")]
    put("experiments", entries)(config)
    put("add_systems", ["LAT", "PTL"])(config)
    for _ in range(2):
        check_config(config, ROOT)
        assert [entry["systems"] for entry in config["experiments"]] == [["MT", "LAT", "PTL"]] * 2


def test_systems_from_outside_need_no_base_model(config, tmp_path):
    for name in ("configs", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    folder = tmp_path / "own" / "demo"
    folder.mkdir(parents=True)
    demo = config["benchmarks"]["demo"]
    for direction in demo["supervised"] + demo["zero_shot"]:
        (folder / f"{direction}.txt").write_text("a line\n")
    overlay("{systems: {Other: {hypotheses: own}}, experiments: [{benchmark: demo, systems: [Other]}]}")(config)
    del config["add_systems"]
    for _ in range(2):  # Jobs check the config again.
        check_config(config, tmp_path)
        assert config["experiments"] == [{"benchmark": "demo", "systems": ["Other"], "base_model": "external"}]
    assert hypotheses_files(config, tmp_path, "demo", "Other", "shared")["it-nl"] == folder / "it-nl.txt"
    assert runs_of(config, config["experiments"][0], "Other") == ["shared"]
    assert used_models(config, "external", "demo") == set()


def test_translations_of_several_seeds_have_a_folder_each(config, tmp_path):
    demo = config["benchmarks"]["demo"]
    for seed in (3, 12):
        (tmp_path / f"own-{seed}").mkdir()
        for direction in demo["supervised"] + demo["zero_shot"]:
            (tmp_path / f"own-{seed}" / f"{direction}.txt").write_text("a line\n")
    overlay(
        "{systems: {Other: {}}, seeds: [3, 12],"
        " experiments: [{base_model: tiny, benchmark: demo, systems: [Base, MT, Other]}]}"
    )(config)
    put("systems.Other.hypotheses", f"{tmp_path}/own-{{seed}}")(config)
    check_config(config, ROOT)
    runs = [runs_of(config, config["experiments"][0], system) for system in ("Base", "MT", "Other")]
    assert runs == [["shared"], ["3", "12"], ["3", "12"]]
    files = hypotheses_files(config, ROOT, "demo", "Other", "12")
    assert files["it-nl"] == tmp_path / "own-12" / "it-nl.txt" and len(files) == 12
    (tmp_path / "own-12" / "it-nl.txt").unlink()
    with pytest.raises(InputError, match=r"systems.Other.hypotheses: 1 of the 12 directions .*own-12/it-nl.txt"):
        check_config(config, ROOT)
    put("seeds", [1])(config)
    with pytest.raises(InputError, match=r"systems.Other.hypotheses: no folder `.*/own-1`"):
        check_config(config, ROOT)
    put("systems.Other.hypotheses", "own-{run}")(config)
    with pytest.raises(InputError, match=r"systems.Other.hypotheses: the text has a brace"):
        check_config(config, ROOT)


def test_a_server_needs_no_base_model_and_has_default_fields(config):
    on_server('request: {seed: 1, stop: "\\n{}"}')(config)
    config["experiments"] = [{"benchmark": "demo", "systems": ["Other"]}]
    del config["add_systems"]
    for _ in range(2):  # Jobs check the config again.
        check_config(config, ROOT)
        assert config["experiments"] == [{"benchmark": "demo", "systems": ["Other"], "base_model": "external"}]
    assert runs_of(config, config["experiments"][0], "Other") == ["shared"]
    settings = server_settings(config, "demo", "Other")
    assert settings["request"] == {"temperature": 0, "max_tokens": 512, "seed": 1, "stop": "\n{}"}
    assert (settings["key"], settings["parallel"], settings["prices"], settings["max_cost"]) == (None, 8, None, None)
    put("benchmarks.demo.decode", {"max_new_tokens": 99})(config)
    assert server_settings(config, "demo", "Other")["request"]["max_tokens"] == 99
    put("systems.Other.server.request", {"temperature": None, "max_completion_tokens": 4000})(config)
    assert server_settings(config, "demo", "Other")["request"] == {"max_completion_tokens": 4000}
    put("systems.Other.server.request", {"max_tokens": None})(config)
    assert server_settings(config, "demo", "Other")["request"] == {"temperature": 0}


@pytest.mark.parametrize("value", ["sk-proj-0123456789abcdef", "https://user:sk-proj-0123456789abcdef@host/v1"])
def test_credentials_of_a_system_are_refused_without_repeating_them(config, value):
    setting = "key" if value.startswith("sk") else "base_url"
    on_server(f"{setting}: '{value}'")(config)
    with pytest.raises(InputError, match=rf"systems\.Other\.server\.{setting}") as caught:
        check_config(config, ROOT)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize("value", ["sk-proj-0123456789abcdef", "https://user:sk-proj-0123456789abcdef@host/v1"])
def test_credentials_of_a_metric_are_refused_without_repeating_them(config, value):
    setting = "key" if value.startswith("sk") else "base_url"
    rated(f"{setting}: '{value}'")(config)
    with pytest.raises(InputError, match=rf"score\.learned\.X\.server\.{setting}") as caught:
        check_config(config, ROOT)
    assert "0123456789" not in str(caught.value)


def test_the_server_of_a_metric_has_default_fields(config):
    rated("request: {seed: 1, stop: '{}'}")(config)
    check_config(config, ROOT)
    settings = rating_server(config, "X")
    assert settings["request"] == {"temperature": 0, "max_tokens": 16, "seed": 1, "stop": "{}"}
    assert (settings["key"], settings["parallel"], settings["prices"], settings["max_cost"]) == (None, 8, None, None)
    rated("request: {temperature: null, max_completion_tokens: 4000}, key: THE_KEY", scale="sqm")(config)
    check_config(config, ROOT)
    assert rating_server(config, "X")["request"] == {"max_completion_tokens": 4000}


def test_used_models_are_those_of_the_systems_and_their_parents(config):
    overlay(
        """
        models: {lat-20: {stage: snapshot, from: lat, step: 20}, other: {stage: unlikelihood, from: mt-postins}}
        systems: {LAT-20: {model: lat-20}, Other: {model: other}}
        experiments:
          - {base_model: tiny, benchmark: demo, systems: [Base, LAT-20]}
          - {base_model: tiny, benchmark: iwslt4, systems: [Base]}
        """
    )(config)
    check_config(config, ROOT)
    assert used_models(config, "tiny", "demo") == {"lat-20", "lat", "mt"}
    assert used_models(config, "tiny", "iwslt4") == used_models(config, "llama2-7b", "demo") == set()


def test_an_unused_snapshot_that_some_training_reaches_is_accepted(config):
    put("models.lat-80", {"stage": "snapshot", "from": "lat", "step": 80})(config)
    put("base_models.tiny.unlikelihood.steps", 4)(config)
    check_config(config, ROOT)
    assert "lat-80" not in used_models(config, "tiny", "demo")


def test_a_baseline_that_an_experiment_lacks_is_said(config):
    assert baseline_warnings(config) == []
    config["experiments"][0]["systems"] = ["LAT"]
    check_config(config, ROOT)
    (warning,) = baseline_warnings(config)
    assert warning.startswith("config: significance.baselines: `MT` is not among the systems of tiny on demo")


def test_other_corpora_of_the_formats_have_their_parts(config, monkeypatch):
    rows = references.sources()
    ted = dataclasses.replace(rows["iwslt17-train"], name="ted-fr")
    monkeypatch.setattr(benchmarks, "sources", lambda: rows | {"ted-fr": ted})
    monkeypatch.setattr(benchmarks, "sources_of", lambda *formats: [*references.sources_of(*formats), "ted-fr"])
    put("benchmarks.iwslt4.languages", ["en", "fr"])(config)
    put("benchmarks.iwslt4.supervised", ["en-fr", "fr-en"])(config)
    put("benchmarks.iwslt4.zero_shot", [])(config)
    put("benchmarks.iwslt4.corpora.train", {"ted-fr": ["train", "tst2015"]})(config)
    put("benchmarks.iwslt4.corpora.test", {"ted-fr": ["tst2016"]})(config)
    check_config(config, ROOT)
    put("benchmarks.iwslt4.corpora.test", {"ted-fr": ["tst2018"]})(config)
    with pytest.raises(InputError, match=r"ted-fr has the parts train, dev2010, .*, not `tst2018`"):
        check_config(config, ROOT)


def test_a_language_that_stands_for_two_sets_of_a_corpus(config):
    put("benchmarks.iwslt4.languages", ["en", "it", "pt", "pt-BR"])(config)
    put("benchmarks.iwslt4.supervised", ["en-it", "it-en"])(config)
    put("benchmarks.iwslt4.zero_shot", ["it-pt-BR", "pt-BR-it"])(config)
    put("benchmarks.iwslt4.corpora.test", {"wmt24pp": ["news", "social"]})(config)
    put("benchmarks.iwslt4.corpora.demonstrations", {"floresplus": ["dev"]})(config)
    check_config(config, ROOT)
    put("benchmarks.iwslt4.zero_shot", ["it-pt"])(config)
    with pytest.raises(InputError, match=r"corpora\.test\.wmt24pp: WMT24.. has 2 .* `pt`; write `pt-BR` or `pt-PT`"):
        check_config(config, ROOT)


def test_a_language_without_a_flores_label(config, monkeypatch):
    monkeypatch.setattr(benchmarks, "language_of", lambda code: dataclasses.replace(language(code), labels=code))
    with pytest.raises(InputError, match=r"flores200: `..` has no label of FLORES-200, such as nld_Latn; add it"):
        check_config(config, ROOT)


def test_an_unknown_tokenizer_of_a_language(config, monkeypatch):
    monkeypatch.setattr(systems, "language", lambda code: dataclasses.replace(language(code), bleu_tokenizer="13b"))
    with pytest.raises(InputError, match=r"languages.tsv: ..: SacreBLEU has no tokenizer `13b`; did you mean `13a`\?"):
        check_config(config, ROOT)


@pytest.mark.parametrize("header", ["response_header", "preamble", "input_header"])
def test_a_missing_header_is_reported_before_any_job(config, monkeypatch, header):
    wordings = copy.deepcopy(prompting.wordings())
    del wordings["nl"][header]
    monkeypatch.setattr(prompting, "wordings", lambda: wordings)
    config["base_models"]["tiny"]["preamble"] = True
    with pytest.raises(InputError, match=f"resources/prompts.yaml: nl: no entry '{header}'; add it"):
        check_config(config, ROOT)


def test_a_missing_language_name_is_reported_before_any_job(config, monkeypatch):
    wordings = copy.deepcopy(prompting.wordings())
    wordings["nl"]["names"] = {code: {"source": code, "target": code} for code in ("en", "it", "nl")}
    monkeypatch.setattr(prompting, "wordings", lambda: wordings)
    expected = r"resources/prompts.yaml: nl: no name of `ro` \(Romanian\) in the instruction ro-nl; add `ro` to `names`"
    with pytest.raises(InputError, match=expected):
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


@pytest.mark.parametrize(
    ("key", "value"),
    [("key", "sk-proj-0123456789abcdef"), ("base_url", "https://user:sk-proj-0123456789abcdef@host/v1")],
)
def test_credentials_in_the_config_are_refused_without_repeating_them(config, key, value):
    config["judge"][key] = value
    with pytest.raises(InputError) as caught:
        check_config(config, ROOT)
    assert f"judge.{key}" in str(caught.value) and "0123456789" not in str(caught.value)


@pytest.mark.parametrize("name", ["BLEU", "chrF++", "OTR", "OTR-confusion", "WPR", "CSR-script", "copies"])
def test_a_learned_metric_has_a_name_of_its_own(config, name):
    config["score"]["learned"] = {name: {"kind": "comet", "model": "Unbabel/wmt22-comet-da"}}
    with pytest.raises(InputError, match=r"score\.learned"):
        check_config(config, ROOT)


def test_weights_with_terms_of_their_own_need_acceptance(config):
    check_licences(config, ["django", "lid.176.ftz"])
    with pytest.raises(InputError, match=r"make demo.*accept_licences=\[LicenseRef-Gemma\].*make tiny"):
        check_licences(config, ["django", "gemma3-270m-part1"])
    config["accept_licences"] = ["LicenseRef-Gemma"]
    check_licences(config, ["gemma3-270m-part1"])


def test_the_terms_of_all_weights_are_known():
    licences = {source.licence for source in read_sources() if source.format == "model"}
    assert {licence for licence in licences if licence.startswith("LicenseRef-")} == set(TERMS)


def test_a_preference_training_has_the_settings_of_stage_2_unless_it_has_its_own():
    config = load_config()
    preference("loss: dpo")(config)
    settings = step_settings(config, "preference", "tiny", "demo", "mine")
    stage2 = step_settings(config, "unlikelihood", "tiny", "demo", "lat")
    shared = {key: value for key, value in stage2.items() if key not in ("alpha", "conflicts")}
    own = {"loss": "dpo", "weight": None, "likelihood": None, "beta": 0.1, "rejected": "reference", "min_pairs": 100}
    assert settings == shared | own
    # In the same place, the setting of `preference` counts; a base model overrides both sections.
    put("preference.learning_rate", 3.0e-6)(config)
    assert step_settings(config, "preference", "tiny", "demo", "mine")["learning_rate"] == 2.0e-4
    put("base_models.tiny.preference", {"learning_rate": 4.0e-6})(config)
    assert step_settings(config, "preference", "tiny", "demo", "mine")["learning_rate"] == 4.0e-6
    put("models.mine.learning_rate", 5.0e-6)(config)
    assert step_settings(config, "preference", "tiny", "demo", "mine")["learning_rate"] == 5.0e-6
    assert step_settings(config, "unlikelihood", "tiny", "demo", "lat") == stage2


def test_the_control_of_a_system_lacks_its_loss_and_nothing_else():
    config = load_config()
    overlay(
        """
        models:
          lat-steps: {stage: unlikelihood, from: mt, steps: 7}
          lat-confusion: {stage: unlikelihood, from: mt, conflicts: confusion}
          orpo: {stage: preference, from: mt}
          cpo-model: {stage: preference, from: mt, loss: cpo, rejected: model}
          dpo: {stage: preference, from: mt, loss: dpo}
          chosen: {stage: preference, from: mt, weight: 0}
        """
    )(config)
    systems = ["lat-steps", "lat-confusion", "orpo", "cpo-model", "dpo", "chosen"]
    config["systems"] |= {name: {"model": name} for name in systems} | {"LAT-greedy": {"model": "lat", "beam": 1}}
    experiment = config["experiments"][0]
    experiment["systems"] = ["MT", "LAT", "LAT-greedy", *systems, "MT-continued", "LAT+Post-ins"]
    check_config(config, ROOT)
    # A system from outside of the workflow has no model.
    config["systems"]["Outside"] = {"hypotheses": "outside"}
    experiment["systems"].append("Outside")
    assert controls_of(config, experiment) == [
        ("unlikelihood", "LAT", "MT-continued"),
        ("unlikelihood", "lat-confusion", "MT-continued"),
        ("preference", "orpo", "chosen"),
    ]
    experiment["systems"] = ["MT", "LAT"]
    assert controls_of(config, experiment) == []
