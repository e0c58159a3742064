"""The choice among snapshots: its rule, and the script on small random models, compared with a plain computation."""

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import sacrebleu
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from tests.unit.tiny_lid import SENTENCES, write_tiny_lid
from workflow_scripts import select
from workflow_scripts.lat.data.lid import load_identifier
from workflow_scripts.lat.decoding.plain import beam_search
from workflow_scripts.lat.evaluation.choosing import Candidate, choose
from workflow_scripts.lat.files import read_lines, read_table, write_jsonl, write_lines
from workflow_scripts.lat.models import encode_prompt, load_model, load_tokenizer
from workflow_scripts.lat.training.tokenizing import train_tokenizer

LETTERS = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
# What the language identifier of these tests takes letters for.
TEXTS = SENTENCES | {"nl": LETTERS[:26], "it": LETTERS[26:38], "en": LETTERS[38:]}
DIRECTIONS = ["it-nl", "en-nl"]
SOURCES = ["a b", "c d e", "f", "g h", "i j k"]
STEPS = [10, 20, 25]


@pytest.mark.parametrize(
    ("candidates", "step"),
    [
        # Fewer off-target lines, whatever chrF++ is.
        ([(10, 9, 40.0), (20, 3, 30.0), (30, 7, 50.0)], 20),
        # One line more is no difference, and the better translation counts.
        ([(10, 4, 32.0), (20, 3, 30.0), (30, 5, 50.0)], 10),
        # Of equals, the first one, in any order.
        ([(20, 0, 30.0), (10, 1, 30.0), (30, 0, 30.0)], 10),
        ([(10, 100, 1.0)], 10),
        # The tolerance counts from the fewest, and does not add up.
        ([(10, 0, 10.0), (20, 1, 20.0), (30, 2, 30.0)], 20),
    ],
)
def test_the_choice_is_by_off_target_lines_then_by_chrf_then_the_earliest(candidates, step):
    assert choose([Candidate(*values) for values in candidates]).step == step


def make_model(folder: Path, tokenizer: PreTrainedTokenizerBase, seed: int) -> Path:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=256, eos_token_id=tokenizer.eos_token_id, initializer_range=0.5,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def models(tmp_path) -> dict[int, Path]:
    """The models of all steps in the folders where the trainings leave them."""
    tokenizer = train_tokenizer([LETTERS] * 5, 300)
    folders = {0: "mt", 10: "snapshots/step10", 20: "snapshots/step20", 25: "lat"}
    # The snapshot after step 15 belongs to another model.
    make_model(tmp_path / "snapshots/step15", tokenizer, 99)
    return {step: make_model(tmp_path / name, tokenizer, step) for step, name in folders.items()}


@pytest.fixture
def words(tmp_path, models) -> list[str]:
    """The command of the step."""
    for direction in DIRECTIONS:
        rows = [{"prompt": f"{direction}: {source}", "contrasts": [], "prompt_language": "en"} for source in SOURCES]
        write_jsonl(tmp_path / "prompts" / f"{direction}.jsonl", rows)
        write_lines(tmp_path / "dev" / f"{direction}.src.txt", SOURCES)
        write_lines(tmp_path / "dev" / f"{direction}.ref.txt", [f"{source} a b c" for source in SOURCES])
    write_tiny_lid(tmp_path / "lid.bin", TEXTS)
    flags: dict[str, object] = {
        "stage1": tmp_path / "mt", "snapshots": tmp_path / "snapshots", "trained": tmp_path / "lat",
        "prompts": tmp_path / "prompts", "dev": tmp_path / "dev", "lid": tmp_path / "lid.bin", "max-new-tokens": 9,
        "batch-tokens": 5000, "unfinished": tmp_path / "unfinished", "curve": tmp_path / "out/curve.tsv",
        "choice": tmp_path / "out/choice.json", "outputs": tmp_path / "out/outputs", "model": tmp_path / "out/model",
    }  # fmt: skip
    found = ["select", *(str(word) for name, value in flags.items() for word in (f"--{name}", value))]
    return [*found, "--directions", *DIRECTIONS, "--steps", *map(str, STEPS)]


def results(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def plain_outputs(model: Path, direction: str) -> list[str]:
    """Translate line by line, without what is shared in batches."""
    tokenizer, loaded = load_tokenizer(model), load_model(model, "fp32")
    texts = []
    for source in SOURCES:
        prompt = encode_prompt(tokenizer, f"{direction}: {source}")
        (found,) = beam_search(loaded, [prompt], 1, 9, tokenizer)
        end = found.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in found else len(found)
        texts.append(" ".join(tokenizer.decode(found[:end], skip_special_tokens=True).partition("\n")[0].split()))
    return texts


def test_every_step_is_measured_as_a_plain_computation_does(tmp_path, monkeypatch, models, words):
    monkeypatch.setattr(sys, "argv", words)
    select.main()
    table = {(int(row["step"]), row["direction"]): row for row in read_table(tmp_path / "out/curve.tsv")}
    assert list(table) == [(step, name) for step in (0, *STEPS) for name in [*DIRECTIONS, "AVG"]]
    identifier = load_identifier(str(tmp_path / "lid.bin"))
    off_target: dict[int, int] = dict.fromkeys(models, 0)
    for (step, direction), row in table.items():
        if direction == "AVG":
            for metric in ("OTR", "chrF++", "BLEU"):
                values = [float(table[step, name][metric]) for name in DIRECTIONS]
                assert float(row[metric]) == pytest.approx(sum(values) / 2, abs=1e-4)
            assert row["lines"] == "10"
            continue
        outputs = plain_outputs(models[step], direction)
        assert read_lines(tmp_path / f"out/outputs/step{step}/{direction}.txt") == outputs
        wrong = sum(label != "nl" for label, _ in identifier.identify(outputs))
        off_target[step] += wrong
        assert float(row["OTR"]) == pytest.approx(20 * wrong) and row["lines"] == "5"
        references = [read_lines(tmp_path / f"dev/{direction}.ref.txt")]
        assert float(row["chrF++"]) == pytest.approx(
            sacrebleu.corpus_chrf(outputs, references, word_order=2).score, abs=1e-3
        )
        assert float(row["BLEU"]) == pytest.approx(sacrebleu.corpus_bleu(outputs, references).score, abs=1e-3)
    # Models that differ, so that the comparison is one.
    assert len({row["chrF++"] for (_, direction), row in table.items() if direction == "AVG"}) == 4

    choice = json.loads((tmp_path / "out/choice.json").read_text())
    fewest = min(off_target[step] for step in STEPS)
    left = [step for step in STEPS if off_target[step] <= fewest + 1]
    assert choice["step"] == max(left, key=lambda step: float(table[step, "AVG"]["chrF++"]))
    assert {row["step"]: row["off_target"] for row in choice["candidates"]} == {
        step: off_target[step] for step in STEPS
    }
    assert choice["signatures"]["OTR"] == identifier.signature and "BLEU it-nl" in choice["signatures"]
    for path in models[choice["step"]].iterdir():
        assert (tmp_path / "out/model" / path.name).samefile(path)
    assert not (tmp_path / "unfinished").exists()


@pytest.mark.parametrize("step", STEPS)
def test_the_model_before_the_training_is_never_chosen_and_any_step_can_be(tmp_path, monkeypatch, models, words, step):
    """The model of one step copies the references, that of stage 1, too."""
    monkeypatch.setattr(sys, "argv", words)

    def decoded(arguments, model, requests, *rest):
        right = model in (models[0], models[step])
        return [f"{request.prompt.partition(': ')[2]} a b c" if right else "z z z" for request in requests]

    monkeypatch.setattr(select, "decode_one", decoded)
    select.main()
    assert json.loads((tmp_path / "out/choice.json").read_text())["step"] == step
    assert (tmp_path / "out/model/model.safetensors").samefile(models[step] / "model.safetensors")
    means = {int(row["step"]): float(row["OTR"]) for row in read_table(tmp_path / "out/curve.tsv")
             if row["direction"] == "AVG"}  # fmt: skip
    assert means == {number: 0.0 if number in (0, step) else 100.0 for number in models}


def test_a_run_continues_after_the_last_finished_snapshot(tmp_path, monkeypatch, models, words):
    monkeypatch.setattr(sys, "argv", words)
    select.main()
    whole = results(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")

    decoded: list[Path] = []
    decode_one = select.decode_one

    def killed(arguments, model, *rest):
        if len(decoded) == 2:
            raise KeyboardInterrupt
        decoded.append(model)
        return decode_one(arguments, model, *rest)

    monkeypatch.setattr(select, "decode_one", killed)
    with pytest.raises(KeyboardInterrupt):
        select.main()
    assert decoded == [models[0], models[10]] and not (tmp_path / "out").exists()
    decoded = []
    monkeypatch.setattr(select, "decode_one", lambda *rest: decoded.append(rest[1]) or decode_one(*rest))
    select.main()
    assert decoded == [models[20], models[25]]
    assert results(tmp_path / "out") == whole


@pytest.mark.parametrize("change", ["a setting", "a prompt", "a model"])
def test_outputs_of_another_run_are_not_reused(tmp_path, monkeypatch, models, words, change):
    monkeypatch.setattr(sys, "argv", words)
    measure = select.measure
    monkeypatch.setattr(select, "measure", lambda *rest: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        select.main()
    assert len(list((tmp_path / "unfinished").iterdir())) == 4
    expected = [*models.values()]
    if change == "a setting":
        words[words.index("--max-new-tokens") + 1] = "8"
    elif change == "a prompt":
        rows = [{"prompt": "other", "contrasts": [], "prompt_language": "en"}] * len(SOURCES)
        write_jsonl(tmp_path / "prompts/it-nl.jsonl", rows)
    else:
        make_model(models[20], load_tokenizer(models[0]), 77)
        expected = [models[20]]
    decoded: list[Path] = []
    decode_one = select.decode_one
    monkeypatch.setattr(select, "measure", measure)
    monkeypatch.setattr(select, "decode_one", lambda *rest: decoded.append(rest[1]) or decode_one(*rest))
    select.main()
    assert decoded == expected


def test_progress_counts_the_lines_of_all_models(monkeypatch, words, caplog):
    monkeypatch.setattr(sys, "argv", words)
    with caplog.at_level("INFO", logger="lat"):
        select.main()
    assert "40/40 lines" in caplog.text and "step 25" in caplog.text
    assert "is chosen: " in caplog.text


def test_means_are_over_directions():
    curve: Mapping[int, Mapping[str, select.Measured]] = {
        10: {
            "it-nl": select.Measured(4, 1, {"BLEU": 10.0, "chrF++": 20.00004}),
            "nl-it": select.Measured(4, 3, {"BLEU": 20.0, "chrF++": 30.0}),
        }
    }
    (*_, average) = select.rows_of(curve)
    assert average == {
        "step": 10,
        "direction": "AVG",
        "lines": 8,
        "OTR": "50.0000",
        "BLEU": "15.0000",
        "chrF++": "25.0000",
    }
    assert select.candidates_of(curve) == [Candidate(10, 4, 25.0)]
