"""A published folder translates as the run did, by the lines of its card, and is uploaded only if all is well."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import LlamaConfig, LlamaForCausalLM

from tests.conftest import ROOT
from tests.unit.chat_templates import chat_tokenizer
from tests.unit.configs import load_config, overlay
from workflow_scripts import decode, prompts, publish
from workflow_scripts.lat.config import card_facts, check_config, publication
from workflow_scripts.lat.decoding import conversion
from workflow_scripts.lat.files import InputError, read_lines, write_lines, write_table
from workflow_scripts.lat.languages import language_name
from workflow_scripts.lat.models import load_tokenizer
from workflow_scripts.lat.publishing.card import code_of_card
from workflow_scripts.lat.publishing.usage import Usage
from workflow_scripts.lat.training.tokenizing import train_tokenizer

REPOSITORY = "my-name/my-model"
SOURCES = {
    "it": ["Apri la cartella {nuova}.", "Salva tutte le modifiche prima di uscire.", 'Il nome "a\\b" non va bene.'],
    "nl": ["Open de nieuwe map.", "Sla alle wijzigingen op voordat u afsluit.", "De naam is niet goed."],
    "en": ["Open the new folder.", "Save all changes before you leave.", "The name is not valid."],
}
DIRECTIONS = ["en-it", "en-nl", "it-en", "it-nl", "nl-en", "nl-it"]
PLAIN = {"licence": "apache-2.0"}


def configured(settings: str = "", name: str = "tiny") -> dict:
    config = load_config(name)
    overlay(f"publish: {{model: lat, {settings}}}")(config)
    check_config(config, ROOT)
    return config


class TestConfig:
    def test_what_is_the_only_one_need_not_be_named(self):
        config = configured("licence: mit")
        assert publication(config) == ("tiny", "demo", 1, "lat", "LAT")
        facts = card_facts(config)
        assert [training["model"] for training in facts["trainings"]] == ["mt", "lat"]
        assert facts["trainings"][1]["settings"]["alpha"] == 0.5
        assert facts["compared"] == ["Base", "MT"]
        assert "lower_is_better" not in facts
        config["score"]["learned"] = {"X": {"kind": "metricx", "model": "a/b"}, "C": {"kind": "comet", "model": "c/d"}}
        assert card_facts(config)["lower_is_better"] == ["X"]
        assert {
            "use": "training, test",
            "name": "ckan",
            "origin": "ckan 2.12.0 (PyPI)",
            "licence": "AGPL-3.0-or-later",
        } in (facts["data"])

    def test_the_licence_and_the_id_of_gemma_are_known(self):
        config = load_config("evidence-gemma3-270m")
        overlay("seeds: [1]\npublish: {model: lat}")(config)
        check_config(config, ROOT)
        facts = card_facts(config)
        assert (facts["licence"], facts["hub_id"]) == ("gemma", "google/gemma-3-270m")
        assert "dequantised from" in facts["origin"] and facts["terms"].startswith("https://ai.google.dev/gemma/")

    def test_corpora_of_mtdata_are_named_by_their_ids(self):
        config = load_config("tiny")
        overlay(
            "benchmarks: {mine: {languages: [en, de], supervised: [de-en, en-de], zero_shot: [], train_rows: 0,"
            " demonstrations: 1, corpora: {train: {mtdata: [Statmt-europarl-10-deu-eng]},"
            " test: {flores200: [devtest]}, demonstrations: {flores200: [dev]}}}}\n"
            "experiments: [{base_model: tiny, benchmark: mine, systems: [Base, MT]}]\n"
            "publish: {model: mt, licence: mit}"
        )(config)
        check_config(config, ROOT)
        assert card_facts(config)["data"][0] == {
            "use": "training",
            "name": "Statmt-europarl-10-deu-eng",
            "origin": "mtdata 0.5.1",
            "licence": "that of the publisher of the text",
        }

    def test_a_snapshot_has_the_training_that_it_is_from(self):
        config = load_config()
        overlay("models: {half: {stage: snapshot, from: lat, step: 2}}\nsystems: {Half: {model: half}}\n"
                "add_systems: [Half]\npublish: {model: half, licence: mit}")(config)  # fmt: skip
        check_config(config, ROOT)
        names = [(training["model"], training["snapshot"]) for training in card_facts(config)["trainings"]]
        assert names == [("mt", None), ("lat", 2)]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("publish: {model: lta}", "publish.model: `lta` is not among the models; did you mean `lat`?"),
            ("publish: {seed: 1}", "publish lacks the key `model`; add it"),
            ("publish: {model: base}", "publish.model: `base` is the base model, which is not trained"),
            ("publish: {model: lat-postins}", "publish.model: no system of tiny on demo has the model `lat-postins`"),
            ("publish: {model: lat, seed: 4}", "publish.seed: `4` is not among the seeds of tiny on demo; known: 1"),
            (
                "seeds: [1, 2]\npublish: {model: lat}",
                "publish.seed is missing, and there are several seeds of tiny on demo; name one of 1 2",
            ),
            ("publish: {model: lat, base_model: gemma3-270m}", "publish.base_model: `gemma3-270m` is not among the b"),
            ("publish: {model: lat, benchmark: wmt}", "publish.benchmark: `wmt` is not among the benchmarks of the e"),
            ("publish: {model: lat, system: MT}", "publish.system: `MT` is not among the systems with `lat` and a pl"),
            (
                "systems: {Greedy: {model: lat, beam: 1}}\nadd_systems: [Greedy]\npublish: {model: lat}",
                "publish.system is missing, and there are several systems with `lat` and a plain prompt; name one of",
            ),
            ("publish: {model: lat}", "publish.licence is missing: the licence of base_models.tiny is not known"),
            ("publish: {model: lat, licence: Apache}", "publish.licence: `Apache` is not among the licences of the h"),
            ("publish: {model: lat, licence: other}", "publish.licence_text is missing: others cannot know it; save"),
            (
                "publish: {model: lat, licence: mit, licence_text: nowhere.txt}",
                "publish.licence_text: no file `nowhere.txt`",
            ),
            ("publish: {model: lat, licence: mit, formats: [gguf]}", "publish.formats: the workflow writes no GGUF;"),
            ("publish: {model: lat, licence: mit, formats: [int8]}", "publish.formats: `int8` is not among the forma"),
            ("publish: {model: lat, licence: mit, push: true}", "publish.push needs publish.repository, such as `my-"),
            ("publish: {model: lat, repository: mine}", "publish.repository: `mine` is not allowed; a repository is"),
            (
                "experiments: [{base_model: tiny, benchmark: demo, systems: [LAT, MT]}, {base_model: gemma3-270m,"
                " benchmark: demo, systems: [LAT, MT]}]\npublish: {model: lat}",
                "publish: `lat` is there several times (tiny on demo, gemma3-270m on demo); name one by `base_model`",
            ),
            (
                "experiments: [{base_model: gemma3-270m, benchmark: demo, systems: [LAT, MT]}]\n"
                "publish: {model: lat, licence: mit}",
                "publish.licence: gemma3-270m has terms that what is made from it keeps; leave the key out for `gemma`",
            ),
            (
                "experiments: [{base_model: gemma3-270m, benchmark: demo, systems: [LAT, MT]}]\n"
                "publish: {model: lat, repository: me/mine, push: true}",
                "publish.licence_text is missing: the licence gemma must be handed on with the model; save its text i",
            ),
        ],
    )  # fmt: skip
    def test_a_mistake_is_one_line(self, change, message):
        config = load_config()
        overlay(change)(config)
        with pytest.raises(InputError) as error:
            check_config(config, ROOT)
        assert message in str(error.value) and "\n" not in str(error.value)


class Made:
    """A model and what a run made with it: prompts, hypotheses and tables; and the folder that is published of it."""

    def __init__(self, folder, template="alpaca-lines", position="before", beam=2, **settings):
        self.folder, self.output = folder, folder / "published"
        self.template = ["--template", template, "--instruction-position", position]
        torch.manual_seed(3)
        words = [f"{line} ### Instruction:\nTranslate the following sentences from Italian to Dutch.\n\n### Input:\n"
                 for lines in SOURCES.values() for line in lines]  # fmt: skip
        tokenizer = chat_tokenizer("llama3") if template == "chat" else train_tokenizer(words, 320)
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=512, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            initializer_range=0.5,
        )  # fmt: skip
        LlamaForCausalLM(config).save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        if template != "alpaca-lines":
            self.template += ["--tokenizer", folder / "model"]
        for direction in DIRECTIONS:
            write_lines(folder / "test" / f"{direction}.src.txt", SOURCES[direction[:2]])
        words = ["test", "--test", folder / "test", "--demonstrations", folder, "--output", folder / "prompts"]
        run(prompts, *words, *self.template, "--directions", *DIRECTIONS)
        words = ["--model", folder / "model", "--prompts", folder / "prompts", "--output", folder / "decoded"]
        words += ["--unfinished", folder / "unfinished", "--beam", beam, "--max-new-tokens", 12, "--batch-tokens", 5000]
        run(decode, *words, "--early-stopping", "--directions", *DIRECTIONS)
        self.write_tables()
        self.facts = card_facts(configured("licence: apache-2.0")) | {
            "zero_shot": ["it-nl", "nl-it"], "supervised": DIRECTIONS[:3] + DIRECTIONS[4:5], "languages": [*SOURCES],
        } | settings  # fmt: skip
        self.facts["decoding"] |= {"beam": beam, "early_stopping": True, "max_new_tokens": 12}

    def write_tables(self):
        rows = [
            {"system": system, "seed": seed, "supervision": kind, "direction": direction, "metric": metric,
             "value": 12.34, "low": 10, "high": 15.5, "p": ""}
            for system, seed in (("Base", "shared"), ("MT", "1"), ("MT", "2"), ("LAT", "1"), ("LAT", "2"))
            for kind, direction in (("supervised", "en-it"), ("supervised", "AVG"), ("zero-shot", "AVG"))
            for metric in ("BLEU", "chrF++", "OTR")
        ]  # fmt: skip
        write_table(self.folder / "intervals.tsv", rows, list(rows[0]))
        rows = [{**row, "mean": 11, "sd": 1.5} for row in rows if row["seed"] != "2"]
        write_table(self.folder / "summary.tsv", rows, list(rows[0]))
        rows = [
            {"direction": direction, "metric": "OTR", "value": value}
            for direction, value in (("en-it", 0), ("it-nl", 5))
        ]
        write_table(self.folder / "otr.tsv", rows, list(rows[0]))
        write_lines(self.folder / "train.jsonl", ["{}"] * 7)

    def write(self, **changes):
        files = {"model": "model", "prompts": "prompts", "test": "test", "hypotheses": "decoded",
                 "samples": "train.jsonl", "intervals": "intervals.tsv", "summary": "summary.tsv",
                 "references": "otr.tsv"}  # fmt: skip
        words = [word for flag, name in files.items() for word in (f"--{flag}", self.folder / name)]
        facts = json.dumps(self.facts | changes)
        run(publish, "write", *words, *self.template, "--facts", facts, "--output", self.output)
        return (self.output / "README.md").read_text(encoding="utf-8")

    def translation(self, card):
        """What the run has for the sentence of the card's example."""
        source = next(line for line in SOURCES["it"] + SOURCES["nl"] if f"text={line!r}" in card)
        direction = "it-nl" if source in SOURCES["it"] else "nl-it"
        return read_lines(self.folder / "decoded" / f"{direction}.txt")[SOURCES[direction[:2]].index(source)]


def run(module, *words):
    before, sys.argv = sys.argv, ["module", *map(str, words)]
    try:
        module.main()
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Made(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize(
    ("template", "position", "beam"),
    [("alpaca-lines", "before", 2), ("alpaca", "before", 1), ("alpaca-lines", "after", 1), ("chat", "before", 2),
     ("chat", "after", 1), (str(ROOT / "configs/templates/plain.jinja"), "before", 1)],
    ids=["lines", "published layout", "after", "chat", "chat after", "file"],
)  # fmt: skip
def test_the_lines_of_the_card_translate_as_the_run_did(tmp_path, capsys, template, position, beam):
    made = Made(tmp_path, template, position, beam)
    card = made.write()
    capsys.readouterr()
    exec("\n".join(code_of_card(card)), {})
    printed = capsys.readouterr().out.removesuffix("\n")
    assert printed == made.translation(card)
    assert len(printed) > 5  # the random model writes something
    assert len(code_of_card(card)) == 5
    assert (made.output / "chat_template.jinja").exists() == (template == "chat")
    assert json.loads((made.output / "generation_config.json").read_text())["num_beams"] == beam


def test_the_card_says_what_the_model_is(made):
    alpaca = {"use": "training", "name": "alpaca", "origin": "a", "licence": "CC-BY-NC-4.0", "hub": "tatsu-lab/alpaca"}
    made.write(seeds=2, data=[*made.facts["data"], alpaca])
    card = ModelCard.load(made.output / "README.md")
    assert card.data.to_dict() == {
        "language": ["en", "it", "nl"], "license": "apache-2.0", "library_name": "transformers",
        "pipeline_tag": "text-generation", "metrics": ["bleu", "chrf"],
        "datasets": ["tatsu-lab/alpaca"],
        "tags": ["translation", "off-target", "language-aware-tuning", "arxiv:2403.14399"],
    }  # fmt: skip
    for text in (
        "[arXiv 2403.14399]", "| training, test | ckan | ckan 2.12.0 (PyPI) | AGPL-3.0-or-later |",
        "fine-tuning on 7 translations", "alpha 0.5", "| en-it | supervised | 12.3 [10.0, 15.5] |",
        "| LAT | 12.3 [10.0, 15.5] |", "| zero-shot | OTR | 11.0 ± 1.5 |",
        "it errs in 2.5 % (by direction 0.0 to 5.0)", "This is one of 2 trainings",
        "### Input:\n{text}\n\n### Response:\n", "Italian (it)",
    ):  # fmt: skip
        assert text in card.text, text
    single = made.write(lower_is_better=["MetricX-24"])
    assert "This is a single training with one seed" in single
    assert "target language. Lower is better for OTR and MetricX-24. Means are over directions." in single
    assert "Lower is better" not in card.text
    *earlier, last = made.facts["trainings"]
    chosen = made.write(trainings=[*earlier, last | {"snapshot": "best", "dev": ["it-nl", "ro-it"]}])
    assert "step with the best translations in the directions it-nl, ro-it, which are not among the tested" in chosen
    files = {path.name for path in made.output.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "generation_config.json", "manifest.json"} <= files
    assert str(made.folder) not in "".join(
        path.read_text(encoding="utf-8") for path in made.output.glob("*.json")
    )  # no path of this machine


def test_gemma_terms_are_handed_on(made):
    card = made.write(licence="gemma", terms="https://ai.google.dev/gemma/terms", hub_id="google/gemma-3-270m")
    assert "Gemma is provided under and subject to the Gemma Terms of Use found at" in card
    assert "found at ai.google.dev/gemma/terms\n" in (made.output / "NOTICE").read_text()
    data = ModelCard(card).data
    assert (data.license, data.base_model, data.license_link) == ("gemma", "google/gemma-3-270m", made_terms())


def made_terms():
    return "https://ai.google.dev/gemma/terms"


def test_ctranslate2_runs_the_folder_with_eight_bits(made, tmp_path, monkeypatch):
    import ctranslate2

    card = made.write(formats=["ctranslate2-int8"])
    generator = ctranslate2.Generator(str(made.output / "ctranslate2-int8"))
    assert generator.compute_type.startswith("int8")
    assert "The folder `ctranslate2-int8`" in card
    assert "ctranslate2-int8/model.bin" in json.loads((made.output / "manifest.json").read_text())

    # The log-probabilities of another model are not those of this one with fewer bits.
    torch.manual_seed(4)
    other = LlamaForCausalLM(LlamaConfig.from_pretrained(made.folder / "model"))
    other.save_pretrained(tmp_path / "other")
    load_tokenizer(made.folder / "model").save_pretrained(tmp_path / "other")
    own = conversion.log_probabilities
    monkeypatch.setattr(conversion, "log_probabilities", lambda folder, tokenizer: own(tmp_path / "other", tokenizer))
    refused = r"largest difference [3-9].* standard deviations\); remove ctranslate2-int8 from publish\.formats"
    with pytest.raises(InputError, match=refused):
        made.write(formats=["ctranslate2-int8"])


def test_a_folder_that_translates_otherwise_is_not_written(tmp_path):
    made = Made(tmp_path)
    for direction in DIRECTIONS:
        write_lines(tmp_path / "decoded" / f"{direction}.txt", ["Another translation."] * 3)
    with pytest.raises(InputError, match=r"but the run as 'Another translation\.' \(0 of 7 lines are equal\)"):
        made.write()
    assert not made.output.exists()
    (tmp_path / "model" / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="holds adapters; merge them into their base model with peft"):
        made.write()


def test_text_after_a_heading_of_the_template_is_left_out():
    usage = Usage("unused", "{source}{target}{text}", ("\n\n###", "### Instruction:"), False)
    code = usage.code("it-nl", "a")
    shown = {"output": [{"generated_text": " one\n two\n\n### Input: three"}]}
    assert language_name("it", "en") == "Italian" and "source='Italian'" in code[3]
    assert eval(code[4].removeprefix("print"), shown) == "one two"


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's interface that an upload needs, and the download of what was uploaded."""

    files: dict[str, bytes]
    repository: dict | None  # what the hub knows of the repository, if it exists
    requests: list[str]
    refuses_card = False

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        if not self.repository:
            return self.answer(404, {"error": "not found"}, {"X-Error-Code": "RepoNotFound"})
        if path.startswith(f"/api/models/{REPOSITORY}"):
            known = {"id": REPOSITORY, "sha": "0" * 40, "siblings": [{"rfilename": name} for name in self.files]}
            listing = [
                {"type": "file", "path": name, "size": len(content), "oid": "0"} for name, content in self.files.items()
            ]
            return self.answer(200, listing if "/tree/" in path else known | self.repository)
        name = path.partition("/resolve/main/")[2] or path.partition(f"/resolve/{'0' * 40}/")[2]
        if name not in self.files:
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": "0" * 40})
        self.answer(200, self.files[name], {"ETag": f'"{len(self.files[name])}"', "X-Repo-Commit": "0" * 40})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append(self.path)
        authorised = self.headers.get("Authorization") == "Bearer hf_test"
        if self.path == "/api/validate-yaml":
            if self.refuses_card:
                return self.answer(400, {"errors": [{"message": "license is not valid"}], "warnings": []})
            return self.answer(200, {"errors": [], "warnings": []})
        if not authorised:
            return self.answer(401, {"error": "no token"})
        if self.path == "/api/repos/create":
            type(self).repository = {"private": json.loads(body)["visibility"] == "private"}
            return self.answer(200, {"url": f"http://{self.headers['Host']}/{REPOSITORY}"})
        if self.path.endswith("/preupload/main"):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        if self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/{REPOSITORY}/commit/{'1' * 40}"
            return self.answer(200, {"commitUrl": url, "commitOid": "1" * 40, "success": True})
        self.answer(404, {"error": self.path})

    def answer(self, status, body, headers=None):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(content)),
            "Content-Type": "application/json",
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path):
    """The server, and a function that runs Python with it as the hub."""
    Hub.files, Hub.repository, Hub.requests, Hub.refuses_card = {}, None, [], False
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()

        def python(*words, token="hf_test"):
            environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
            environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "home"),
                            "PYTHONPATH": str(ROOT), **({"HF_TOKEN": token} if token else {})}  # fmt: skip
            return subprocess.run(
                [sys.executable, *map(str, words)], capture_output=True, text=True, env=environment, cwd=tmp_path
            )

        yield python
        server.shutdown()
        thread.join()


def push(hub, folder, record, *words, **settings):
    return hub(
        "-m", "workflow_scripts.publish", "push", "--folder", folder, "--repository", REPOSITORY, "--output", record,
        *words, **settings,
    )  # fmt: skip


def test_what_is_uploaded_translates_with_the_lines_of_the_card(made, hub, tmp_path):
    card = made.write(repository=REPOSITORY)
    (made.output / ".snakemake_timestamp").touch()
    done = push(hub, made.output, tmp_path / "pushed.json", "--private")
    assert done.returncode == 0, done.stderr[-3000:]
    assert Hub.repository == {"private": True}
    assert Hub.files["README.md"].decode() == card and not {"manifest.json", ".snakemake_timestamp"} & set(Hub.files)
    assert Hub.files["model.safetensors"] == (made.output / "model.safetensors").read_bytes()
    assert json.loads((tmp_path / "pushed.json").read_text())["commit"] == "1" * 40
    # As a reader of the card does, with the model from the hub.
    (tmp_path / "use.py").write_text("\n".join(code_of_card(card)), encoding="utf-8")
    done = hub("use.py", token="")
    assert done.stdout.removesuffix("\n") == made.translation(card), done.stderr[-3000:]


@pytest.mark.parametrize("case", ["changed file", "no metadata", "refused card", "public", "no token"])
def test_nothing_is_uploaded_otherwise(made, hub, tmp_path, case):
    made.write(repository=REPOSITORY)
    token, card = "hf_test", made.output / "README.md"
    if case == "changed file":
        (made.output / "config.json").write_text("{}")
        message = "config.json has 2 bytes instead of"
    elif case == "no metadata":
        card.write_text(card.read_text().replace("license: apache-2.0\n", ""))
        message = "README.md: its metadata lacks license; add it"
    elif case == "refused card":
        Hub.refuses_card = True
        message = "README.md: the hub refuses its metadata"
    elif case == "public":
        Hub.repository = {"private": False}
        message = f"{REPOSITORY}: is public, but publish.private is true; set `private: false`"
    else:
        token, message = "", f"{REPOSITORY}: the hub refuses the upload"
    done = push(hub, made.output, tmp_path / "pushed.json", "--private", token=token)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not Hub.files and not (tmp_path / "pushed.json").exists()
    assert not [path for path in Hub.requests if "commit" in path or "preupload" in path]
