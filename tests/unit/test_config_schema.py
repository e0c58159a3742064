"""Values of a config that YAML or the schema reads in another way than the user meant."""

import pytest

from tests.conftest import ROOT
from tests.unit.configs import drop, load_config, overlay, put
from workflow_scripts.lat.config import check_config
from workflow_scripts.lat.files import InputError


def message_of(change):
    config = load_config()
    change(config)
    with pytest.raises(InputError) as caught:
        check_config(config, ROOT)
    message = str(caught.value)
    assert message.startswith("config: ") and "\n" not in message
    return message.removeprefix("config: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("systems: {1: {model: mt}}", 'systems: the name 1 is a number in YAML; quote it: "1"'),
        ("models: {0.1: {stage: finetune}}", 'models: the name 0.1 is a number in YAML; quote it: "0.1"'),
        (
            "systems: {2024-01-02: {model: mt}}",
            'systems: the name 2024-01-02 is a date in YAML; quote it: "2024-01-02"',
        ),
        ("systems: {~: {model: mt}}", 'systems: a name is empty or null; write it, or quote it: "null"'),
        ("judge: {request: {1: 2}}", 'judge.request: the name 1 is a number in YAML; quote it: "1"'),
        ("7: x", 'the top level: the name 7 is a number in YAML; quote it: "7"'),
        (
            "systems: {on: {model: mt}}",
            'systems: the name true is not text: YAML reads on and yes as true; put it in quotes, such as "on"',
        ),
        (
            "benchmarks: {no: {}}",
            'benchmarks: the name false is not text: YAML reads no and off as false; put it in quotes, such as "no"',
        ),
        (
            "unlikelihood: {alpha: 0,05}",
            "unlikelihood: the key 5 has no value; a comma begins another key, so write decimals with a point, such as"
            " 0.05",
        ),
        (
            "unlikelihood: {alpha: 0,08}",
            "unlikelihood: the key 08 has no value; a comma begins another key, so write decimals with a point, such as"
            " 0.05",
        ),
    ],
)
def test_keys_that_are_not_text(text, message):
    assert message_of(overlay(text)) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "benchmarks: {demo: {languages: [en, no]}}",
            "benchmarks.demo.languages.1: false is not text: YAML reads no and off as false; put it in quotes, such as"
            ' "no"',
        ),
        ("systems: {MT: {model: 1}}", 'systems.MT.model: 1 is a number in YAML; quote it: "1"'),
        (
            "base_models: {llama2-7b: {revision: 20240102}}",
            'base_models.llama2-7b.revision: 20240102 is a number in YAML; quote it: "20240102"',
        ),
        ("judge: {model: 2024-01-02}", 'judge.model: 2024-01-02 is a date in YAML; quote it: "2024-01-02"'),
        ("unlikelihood:", "unlikelihood: has no value; write a mapping of keys to values, or leave the key out"),
        ("decode: {beam: four}", "decode.beam: `four` is text, not a whole number"),
        ("decode: {beam: 2.5}", "decode.beam: 2.5 is not a whole number"),
        ("decode: {beam: '2'}", "decode.beam: `2` is text; write 2 without quotes"),
        ("decode: {beam: true}", "decode.beam: true is not a whole number"),
        ("decode: {early_stopping: 'yes'}", "decode.early_stopping: `yes` is text; write true or false without quotes"),
        ("decode: [4]", "decode: [4] is not a mapping of keys to values"),
        ("detect: {lid: py3langid}", "detect.lid: `py3langid` is not a list; write it in brackets: [py3langid]"),
        ("unlikelihood: {alpha: '0,05'}", "unlikelihood.alpha: `0,05` is text; write 0.05 with a point"),
        ("significance: {resamples: '1,000'}", "significance.resamples: `1,000` is text; write 1000 without a comma"),
        ("unlikelihood: {alpha: nan}", "unlikelihood.alpha: `nan` is text, not a number"),
        (
            "seeds: [4294967296]",
            "seeds.0: 4294967296 is greater than the maximum of 4294967295; a seed is 0 to 4294967295",
        ),
        ("seeds: [1, -1]", "seeds.1: -1 is less than the minimum of 0; a seed is 0 to 4294967295"),
        ("decode: {beam: 0}", "decode.beam: 0 is less than the minimum of 1"),
        ("detect: {lid: []}", "detect.lid is empty; add an entry"),
        ("detect: {lid: [py3langid, py3langid]}", "detect.lid: `py3langid` occurs twice; keep one"),
        (
            "systems: {PTL: {prompt_language: nl}}",
            "systems.PTL.prompt_language: `nl` is not among the allowed values; known: en target",
        ),
        (
            "models: {lat: {stage: unlikelyhood}}",
            "models.lat.stage: `unlikelyhood` is not among the allowed values; did you mean `unlikelihood`?",
        ),
        (
            "models: {lat: {stage: 2}}",
            "models.lat.stage: 2 is not among the allowed values; known: finetune unlikelihood preference snapshot",
        ),
    ],
)
def test_values_of_another_type(text, message):
    assert message_of(overlay(text)) == message


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2E-6", "2.0e-6"),
        ("1e-5", "1.0e-5"),
        ("1.5e3", "1.5e+3"),
        (".5e3", "0.5e+3"),
        ("2.e-5", "2.0e-5"),
        ("1e5", "1.0e+5"),
    ],
)
def test_exponents_are_written_with_a_point_and_a_sign(text, written):
    # YAML reads some of them as numbers if they are not quoted; then there is nothing to say.
    message = message_of(put("finetune.learning_rate", text))
    assert message == (
        f"finetune.learning_rate: YAML reads {text} as text; write it with a point and a sign: {written}"
    )


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "1.0e+999"])
@pytest.mark.parametrize("key", ["finetune.learning_rate", "models.lat.alpha", "judge.request.top_p"])
def test_numbers_are_finite(key, value):
    section, entry, *rest = key.split(".")
    inner = f"{{{rest[0]}: {value}}}" if rest else value
    assert message_of(overlay(f"{section}: {{{entry}: {inner}}}")).startswith(f"{key}: ")
    assert "is not a finite number" in message_of(overlay(f"{section}: {{{entry}: {inner}}}"))


def test_whole_numbers_may_be_written_as_floats():
    config = load_config()
    overlay(
        """
        benchmarks: {demo: {test_rows: 12.0, finetune: {batch_size: 32.0}}}
        base_models: {tiny: {mem_mb: 4.0e+3, build: {hidden: 128.0}, unlikelihood: {steps: 1.0e+2}}}
        models:
          lat: {steps: 40.0}
          mt: {lora_rank: 4.0}
          lat-20: {stage: snapshot, from: lat, step: 20.0}
        systems: {LAT: {beam: 2.0}}
        decode: {beam: 2.0}
        significance: {resamples: 1.0e+3}
        score: {learned: {B: {kind: bleurt, model: BLEURT-20, shape: [1.0, 2.0, 3.0, 4.0], batch_tokens: 8.0}}}
        finetune: {epochs: 3.0}
        seeds: [7.0]
        """
    )(config)
    check_config(config, ROOT)
    tiny, demo = config["base_models"]["tiny"], config["benchmarks"]["demo"]
    found = [
        demo["test_rows"], demo["finetune"]["batch_size"], tiny["mem_mb"], tiny["build"]["hidden"],
        tiny["unlikelihood"]["steps"], config["models"]["lat"]["steps"], config["models"]["mt"]["lora_rank"],
        config["models"]["lat-20"]["step"], config["systems"]["LAT"]["beam"], config["decode"]["beam"],
        config["significance"]["resamples"], *config["score"]["learned"]["B"]["shape"],
        config["score"]["learned"]["B"]["batch_tokens"], *config["seeds"],
    ]  # fmt: skip
    assert found == [12, 32, 4000, 128, 100, 40, 4, 20, 2, 2, 1000, 1, 2, 3, 4, 8, 7]
    assert {type(value) for value in found} == {int}
    # A number that may have decimals stays as it is.
    assert isinstance(config["finetune"]["epochs"], float)


def test_shared_entries_of_aliases_are_read_once():
    config = load_config()
    overlay("base_models: {a: &a {hub: x/y, deepspeed: configs/deepspeed/cpu.json, mem_mb: 8.0}, b: *a}")(config)
    check_config(config, ROOT)
    assert config["base_models"]["a"]["mem_mb"] == config["base_models"]["b"]["mem_mb"] == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "systems: {Überall: {model: mt}}",
            "systems: the name `Überall` is not allowed; names of systems consist of the letters A-Z",
        ),
        (
            "systems: {a=1: {model: mt}}",
            "systems: the name `a=1` is not allowed; names of systems consist of the letters A-Z",
        ),
        (
            'systems: {"MT\\n": {model: mt}}',
            "systems: the name `MT?` has a line break or another control character; remove it",
        ),
        ("models: {a/b: {stage: finetune}}", "models: the name `a/b` is not allowed; names consist of the letters A-Z"),
        (
            "benchmarks: {demo: {zero_shot: [it-dutch]}}",
            "benchmarks.demo.zero_shot.0: `it-dutch` is not allowed; a direction is two codes of languages",
        ),
        (
            "base_models: {x: {hub: https://huggingface.co/org/name, deepspeed: x}}",
            "base_models.x.hub: `https://huggingface.co/org/name` is not allowed; write the id alone: org/name",
        ),
        (
            "base_models: {x: {hub: huggingface.co/org/name/tree/main, deepspeed: x}}",
            "base_models.x.hub: `huggingface.co/org/name/tree/main` is not allowed; write the id alone: org/name",
        ),
        (
            "base_models: {x: {hub: gpt2, deepspeed: x}}",
            "base_models.x.hub: `gpt2` is not allowed; an id is `organisation/name`",
        ),
        (
            "judge: {base_url: api.openai.com}",
            "judge.base_url is not the address of a server; write it as in `https://HOST/v1`",
        ),
        (
            "judge: {key: sk-proj-123}",
            "judge.key names the environment variable that holds the key, it is not the key itself",
        ),
        (
            "studies: {n: {label: x, series: {a=1: {0: MT}}}}",
            "studies.n.series: the name `a=1` is not allowed; the name of a series is not empty and has no `=`",
        ),
        (
            "studies: {n: {label: x, series: {-a: {0: MT}}}}",
            "studies.n.series: the name `-a` begins with `-`, like a flag of a program",
        ),
        (
            'studies: {n: {label: x, series: {"MT {k}": {0: MT}}}}',
            "studies.n.series: the name `MT {k}` has a brace, which Snakemake takes for a wildcard; remove it",
        ),
        (
            'studies: {n: {label: "of {k}", series: {MT: {0: MT}}}}',
            "studies.n.label: the text has a brace, which Snakemake takes for a wildcard; remove it",
        ),
        (
            "studies: {n: {label: --title, series: {MT: {0: MT}}}}",
            "studies.n.label: the text begins with `-`, like a flag of a program",
        ),
        ('detect: {lid: ["lid.{model}.bin"]}', "detect.lid.0: the text has a brace"),
        ("base_models: {x: {path: '', deepspeed: x}}", "base_models.x.path: the text is empty; write it, or leave"),
        (
            'base_models: {x: {path: "a\\0b", deepspeed: x}}',
            "base_models.x.path: the text has a line break or another control character; remove it",
        ),
        (
            'base_models: {x: {path: "a\\ud800b", deepspeed: x}}',
            "base_models.x.path: the text has a line break or another control character; remove it",
        ),
    ],
)
def test_texts_that_are_no_names(text, message):
    assert message_of(overlay(text)).startswith(message)


def test_requests_to_the_judge_have_any_text():
    config = load_config()
    overlay('judge: {request: {stop: ["\\n", "-"], extra: {"{a}": "{b}"}}}')(config)
    check_config(config, ROOT)


def test_points_of_studies_are_numbers_or_numeric_text():
    config = load_config()
    overlay('studies: {n: {label: "-1", series: {"MT, greedy": {0: MT, "0.5": LAT, "7": PTL, -1: MT}}}}')(config)
    check_config(config, ROOT)
    points = config["studies"]["n"]["series"]["MT, greedy"]
    assert list(points.items()) == [(0, "MT"), (0.5, "LAT"), (7, "PTL"), (-1, "MT")]


@pytest.mark.parametrize("point", ["abc", "true", "~", ".nan", "'inf'", "2024-01-02"])
def test_other_points_are_refused(point):
    assert "the point" in message_of(overlay(f"studies: {{n: {{label: x, series: {{MT: {{{point}: MT}}}}}}}}"))


def test_two_systems_for_one_point_are_refused():
    text = 'studies: {n: {label: x, series: {MT: {0.5: MT, "0.50": LAT}}}}'
    message = "studies.n.series.MT: two systems, MT and LAT, for the point 0.5; keep one"
    assert message_of(overlay(text)) == message


def test_unknown_and_missing_keys():
    assert message_of(put("decode.beams", 4)) == "unknown key `beams` in decode; did you mean `beam`?"
    assert message_of(put("learning_rate", 1)).startswith("unknown key `learning_rate` in the top level")
    assert message_of(drop("detect.lid")) == "detect lacks the key `lid`; add it"
