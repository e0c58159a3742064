"""Decoding methods: batches and order do not change the text, contrasts follow the formula, limits are kept."""

import copy
import itertools
import json
import statistics
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from transformers import AddedToken, AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tests.conftest import VOCABULARY, random_model
from workflow_scripts import decode as decode_script
from workflow_scripts.lat.decoding import levels, transformers_engine
from workflow_scripts.lat.decoding.beams import Beams, through_end
from workflow_scripts.lat.decoding.ctranslate2_engine import CTranslate2Engine
from workflow_scripts.lat.decoding.levels import attention_by_levels, beam_search_by_levels, read_prefix
from workflow_scripts.lat.decoding.plain import beam_search, contrastive_choice, contrastive_search
from workflow_scripts.lat.decoding.probes import probe_contrastive, probe_levels, probe_search
from workflow_scripts.lat.decoding.requests import (
    JOINED_TOKENS,
    BatchEngine,
    Job,
    Request,
    Settings,
    decode,
    decode_in_parts,
    shared_prefix,
    until_mark,
)
from workflow_scripts.lat.decoding.transformers_engine import TransformersEngine
from workflow_scripts.lat.decoding.vllm_engine import VllmEngine
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.models import encode_prompt, encode_text, stop_tokens
from workflow_scripts.lat.training.tokenizing import train_tokenizer


def prompts(count: int, seed: int = 5) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 12, (count,), generator=generator).tolist()
    return [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a b c d e f g h i j k l m n o p q r s t u v w x y z"] * 5, 300)


class Tiny:
    """The part of a tokenizer that `beam_search` uses: three ids."""

    pad_token_id, eos_token_id, bos_token_id = 2, 1, 0


@pytest.mark.parametrize("beam", [1, 4])
def test_beam_search_of_a_padded_batch_equals_beam_search_of_single_prompts(model, beam):
    batch = prompts(6)

    together = [trimmed(row) for row in beam_search(model, batch, beam, 8, Tiny)]
    apart = [trimmed(beam_search(model, [prompt], beam, 8, Tiny)[0]) for prompt in batch]
    assert together == apart


def trimmed(tokens: list[int], end: int = 1) -> list[int]:
    """The tokens of a row up to its end token."""
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


class Ending(Tiny):
    """A tokenizer whose end token is one that a model often generates, so that the rules of stopping matter."""

    def __init__(self, model, batch):
        rows = beam_search(model, batch, 1, 8, SimpleNamespace(pad_token_id=2, eos_token_id=None, bos_token_id=0))
        self.eos_token_id = statistics.mode(token for row in rows for token in row[2:])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("beam", [1, 2, 4])
@pytest.mark.parametrize("shared", [0, 5])
def test_search_by_levels_equals_the_search_of_transformers(model, beam, shared, early_stopping):
    prefix = prompts(1, seed=9)[0][:1] * shared
    batch = [(prefix + prompt)[:8] for prompt in prompts(12)]  # within the sliding windows of the models
    # A random model with tied embeddings repeats its last token for ever.
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(2)))
    ending = Ending(model, batch)
    end = ending.eos_token_id
    expected = beam_search(model, batch, beam, 8, ending, early_stopping)
    with attention_by_levels(model):
        layers = read_prefix(model, prefix) if prefix else {}
    arguments = {"shared": shared, "prefix": layers, "ends": [end], "pad": 2, "early_stopping": early_stopping}
    found = beam_search_by_levels(model, batch, beam, 8, **arguments)
    assert found == [trimmed(row, end) for row in expected]
    lengths = {len(row) for row in found if end in row}
    assert len(lengths) > 1, "the test needs lines that end at different places"


def frequent_tokens(model, batch) -> list[int]:
    """The two tokens that a model generates most often, which as end tokens end outputs at different places."""
    return [token for token, _ in Counter(token for row in endless(model, batch) for token in set(row)).most_common(2)]


def rival_tokens(model, batch) -> list[int]:
    """Two tokens, each of which the model generates in some output before the other."""
    rows = endless(model, batch)

    def comes_first(row, one, other) -> bool:
        return one in row and other in row[row.index(one) :]

    return next(
        [one, other]
        for one, other in itertools.combinations(sorted({token for row in rows for token in row}), 2)
        if any(comes_first(row, one, other) for row in rows) and any(comes_first(row, other, one) for row in rows)
    )


def endless(model, batch) -> list[list[int]]:
    """Outputs of a model without end tokens, without their first tokens."""
    without = SimpleNamespace(pad_token_id=2, eos_token_id=None, bos_token_id=0)
    return [row[1:] for row in beam_search(model, batch, 1, 8, without)]


def with_random_head(model):
    """A model whose outputs differ: with tied embeddings, a random model repeats its last token for ever."""
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(2)))
    return model


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("beam", [1, 2, 4])
def test_search_with_two_end_tokens_is_that_of_transformers(model, beam, early_stopping):
    batch = [prompt[:8] for prompt in prompts(12)]  # within the sliding windows of the models
    with_random_head(model)
    ends = frequent_tokens(model, batch)
    engine = TransformersEngine(model, Tiny, early_stopping, ends)
    found = engine.search([[(prompt, 1.0)] for prompt in batch], beam, 8, 0)
    expected = beam_search(model, batch, beam, 8, Tiny, early_stopping, ends)
    assert found == [through_end(row, ends) for row in expected]
    assert {row[-1] for row in found} >= set(ends), "the test needs lines that end with either token"
    assert found != [through_end(row, ends[:1]) for row in beam_search(model, batch, beam, 8, Tiny, ends=ends[:1])]


def test_contrastive_search_stops_at_every_end_token(model):
    with_random_head(model)
    batch = prompts(8, 1)
    requests = [[(a, 1.0), (b, -0.3)] for a, b in zip(batch, prompts(8, 2), strict=True)]
    whole = contrastive_search(model, requests, 8, ends=[VOCABULARY], pad=2)
    ends = [token for token, _ in Counter(token for row in whole for token in row[2:5]).most_common(2)]
    found = contrastive_search(model, requests, 8, ends=ends, pad=2)
    assert found == [through_end(row, ends) for row in whole]
    assert {row[-1] for row in found} >= set(ends)


def test_the_rules_of_stopping_give_different_text(llama):
    batch = prompts(12)
    arguments = {"shared": 0, "prefix": {}, "ends": [Ending(llama, batch).eos_token_id], "pad": 2}
    early, late = (
        beam_search_by_levels(llama, batch, 4, 12, early_stopping=early, **arguments) for early in (True, False)
    )
    assert early != late


def test_the_engine_reads_a_prefix_once_and_gives_the_text_of_transformers(model, monkeypatch):
    read = []
    monkeypatch.setattr(
        transformers_engine, "read_prefix", lambda *arguments: read.append(1) or read_prefix(*arguments)
    )
    prefix = [5, 6, 7, 8]
    batch = [prefix + prompt[:3] for prompt in prompts(6)]
    engine = TransformersEngine(model, Tiny)
    requests = [[(prompt, 1.0)] for prompt in batch]
    found = engine.search(requests[:2], 4, 8, 4) + engine.search(requests[2:], 4, 8, 4)
    assert found == [trimmed(row) for row in beam_search(model, batch, 4, 8, Tiny)]
    assert read == [1]


def test_tokens_beyond_a_sliding_window_are_decoded_by_transformers(monkeypatch):
    model = random_model("mistral")  # with a window of 16 tokens
    called = []
    monkeypatch.setattr(
        transformers_engine, "beam_search", lambda *arguments: called.append(1) or beam_search(*arguments)
    )
    engine = TransformersEngine(model, Tiny)
    long = [[(list(range(3, 15)), 1.0)]]
    assert engine.search(long, 4, 4, 0) == [trimmed(beam_search(model, [long[0][0][0]], 4, 4, Tiny)[0])]
    assert called == []
    engine.search(long, 4, 5, 0)
    assert called == [1]


def test_attention_without_a_fused_kernel_is_the_same(llama, monkeypatch):
    batch = prompts(6)
    arguments = {"shared": 0, "prefix": {}, "ends": [1], "pad": 2, "early_stopping": False}
    expected = beam_search_by_levels(llama, batch, 4, 8, **arguments)
    # What other devices compute.
    monkeypatch.setattr(levels, "has_kernel", lambda query, keys, values: False)
    assert beam_search_by_levels(llama, batch, 4, 8, **arguments) == expected


def test_lines_that_start_later_follow_the_same_rules():
    """A line that is added to others gets the text that it gets alone."""
    generator = torch.Generator().manual_seed(3)
    table = torch.randn((30, 30), generator=generator).mul(2).log_softmax(-1)  # the next token depends on the last one

    def step(beams, starts):
        last = beams.last_tokens() if int(beams.lengths.min()) else None
        rows = []
        for line, start in enumerate(starts):
            length = int(beams.lengths[line])
            tokens = beams.tokens[line, :, length - 1].tolist() if length else [start] * beams.beam
            rows.append(table[tokens])
        assert last is None or last.shape == (len(starts), beams.beam)
        return beams.advance(*torch.stack(rows).topk(beams.candidates))[1]

    def alone(start, limit):
        beams = Beams([limit], 3, [1], False)
        while not bool(step(beams, [start])):
            pass
        return beams.best(0)

    beams, waiting, lines, found = Beams([], 3, [1], False), [(5, 9), (6, 4), (7, 12), (8, 2), (9, 7)], [], {}
    while waiting or lines:
        new = [waiting.pop()] if waiting else []
        beams.add([limit for _, limit in new])
        lines += new
        done = step(beams, [start for start, _ in lines])
        for place in done.nonzero().flatten().tolist():
            found[lines[place]] = beams.best(place)
        beams.keep((~done).nonzero().flatten())
        lines = [line for line, is_done in zip(lines, done.tolist(), strict=True) if not is_done]
    assert found == {line: alone(*line) for line in found} and len(found) == 5


def test_the_shared_prefix_is_shorter_than_every_prompt():
    assert shared_prefix([[1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 5]]) == 2
    assert shared_prefix([[1, 2, 3], [1, 2, 4]]) == 2
    assert shared_prefix([[7], [8, 9]]) == 0
    assert shared_prefix([[1, 2, 3]]) == 0


def test_contrastive_choice_is_the_published_formula():
    probabilities = torch.tensor([[[0.5, 0.3, 0.2], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]]])
    weights = torch.tensor([[1.0, -0.5, -0.5]])
    # 0.5 - 0.45 - 0.05 = 0; 0.3 - 0.025 - 0.05 = 0.225; 0.2 - 0.025 - 0.4 < 0, excluded
    assert contrastive_choice(probabilities, weights).tolist() == [1]


def test_if_every_contrast_agrees_the_real_prompt_determines_the_token():
    same = torch.tensor([[[0.2, 0.7, 0.1], [0.2, 0.7, 0.1]]])
    assert contrastive_choice(same, torch.tensor([[1.0, -1.0]])).tolist() == [1]


def plain_contrastive(model, rows, steps, end):
    """Contrastive search by its definition, without cache, padding or batches."""
    output: list[int] = []
    while len(output) < steps and (not output or output[-1] != end):
        p = sum(
            weight * torch.softmax(model(torch.tensor([prompt + output])).logits[0, -1].double(), -1)
            for prompt, weight in rows
        )
        output.append(int(torch.where(p > 0, p.log(), -torch.inf).argmax()))
    return output


@torch.inference_mode()
def test_contrastive_search_of_a_batch_equals_its_definition(model):
    model = model.double()
    real, first, second = prompts(4, 1), prompts(4, 2), prompts(4, 3)
    requests = [[(a, 1.0), (b, -0.5), (c, -0.5)] for a, b, c in zip(real, first, second, strict=True)]
    found = contrastive_search(model, requests, 6, ends=[1], pad=2)
    assert found == [plain_contrastive(model, rows, 6, end=1) for rows in requests]


def request(text: str) -> Request:
    return Request(text)


def small_model(tokenizer, window=64):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=window,
        )
    ).eval()


def test_hypotheses_are_in_the_order_of_the_requests_whatever_the_batches(tokenizer):
    engine = TransformersEngine(small_model(tokenizer), tokenizer)
    requests = [request("a b c d e f g h"[: 1 + 2 * n]) for n in (3, 0, 6, 1, 5)]
    texts = []
    for batch_tokens in (1, 60, 10_000):
        texts.append([h.text for h in decode(engine, tokenizer, requests, Settings(2, 5, batch_tokens))])
    assert texts[0] == texts[1] == texts[2]
    assert all("\n" not in text for text in texts[0])


def test_finished_batches_are_skipped_and_the_others_are_unchanged(tokenizer):
    engine = TransformersEngine(small_model(tokenizer), tokenizer)
    requests = [request("a b c d e f g h"[: 1 + 2 * n]) for n in (3, 0, 6, 1, 5)]
    settings = Settings(2, 5, 40)
    batches = list(decode_in_parts(engine, tokenizer, requests, settings))
    assert len(batches) > 2
    first = batches[0] | {}
    rest = list(decode_in_parts(engine, tokenizer, requests, settings, done=first))
    assert rest == batches[1:]


def test_batches_have_at_most_batch_tokens_and_the_longest_come_first():
    jobs = {number: Job([([3] * length, 1.0)], 10) for number, length in enumerate([5, 50, 7, 6, 40])}
    settings = Settings(4, 10, 500)
    batches = list(BatchEngine()._batches(jobs, settings, 0))
    assert batches[0] == [1, 4]
    assert sorted(number for batch in batches for number in batch) == [0, 1, 2, 3, 4]
    for batch in batches:
        cost = 4 * len(batch) * (max(jobs[number].length for number in batch) + 10)
        assert cost <= 500 or len(batch) == 1


def test_a_prompt_counts_once_and_a_shared_prefix_not_at_all(llama):
    engine = TransformersEngine(llama, Tiny)
    settings = Settings(4, 10, 500)
    assert engine.stored_tokens(Job([([3] * 50, 1.0)], 10), settings, shared=45) == 5 + 4 * 10
    assert engine.stored_tokens(Job([([3] * 50, 1.0), ([3] * 40, -0.5)], 10), settings, shared=0) == 2 * (50 + 10)


def batches_of(jobs: list[Job], settings: Settings, joins_groups: bool = True) -> list[tuple[list[int], int]]:
    """The numbers of the jobs of each batch, and how many tokens their prompts share."""
    engine, found = BatchEngine(), []
    engine.joins_groups = joins_groups
    engine.search = lambda batch, beam, limit, shared, group: found.append(shared) or [[] for _ in batch]
    parts = [sorted(part) for part in engine.run(dict(enumerate(jobs)), settings, ())]
    return list(zip(parts, found, strict=True))


def job(tokens: list[int], group: str) -> Job:
    return Job([(tokens, 1.0)], 10, group)


def test_small_groups_share_batches():
    jobs = [job([3, 4, 5, number], "it-nl") for number in range(3)] + [job([3, 6, 7, 8], "nl-it") for _ in range(2)]
    assert batches_of(jobs, Settings(1, 10, 1000)) == [([0, 1, 2, 3, 4], 1)]
    assert batches_of(jobs, Settings(1, 10, 1000), joins_groups=False) == [([0, 1, 2], 3), ([3, 4], 3)]
    # 14 tokens are stored for a line: two groups that fit into one batch each, and share two.
    assert batches_of(jobs, Settings(1, 10, 3 * 14)) == [([0, 1, 2], 1), ([3, 4], 1)]


def test_a_group_that_fills_a_batch_has_its_own():
    jobs = [job([3, 4, 5, number], "it-nl") for number in range(5)]
    jobs += [job([3, 6, 7, number], group) for group in ("nl-it", "it-ro") for number in range(2)]
    assert batches_of(jobs, Settings(1, 10, 4 * 14)) == [([0, 1, 2, 3], 3), ([4], 3), ([5, 6, 7, 8], 3)]


def test_groups_with_long_beginnings_of_their_own_have_their_own_batches():
    def few_shot(first: int, tokens: int, group: str) -> list[Job]:
        return [job([3, first, *[7] * (tokens - 1), number], group) for number in range(2)]

    apart = few_shot(4, JOINED_TOKENS + 1, "it-nl") + few_shot(5, JOINED_TOKENS + 1, "nl-it")
    assert [part for part, _ in batches_of(apart, Settings(1, 10, 1000))] == [[0, 1], [2, 3]]
    together = few_shot(4, JOINED_TOKENS, "it-nl") + few_shot(5, JOINED_TOKENS, "nl-it")
    assert batches_of(together, Settings(1, 10, 1000)) == [([0, 1, 2, 3], 1)]


def test_groups_with_a_boost_have_their_own_batches(tokenizer):
    model = small_model(tokenizer)
    assert TransformersEngine(model, tokenizer).joins_groups
    assert not TransformersEngine(model, tokenizer, boosts={"it-nl": torch.zeros(len(tokenizer))}).joins_groups


@pytest.mark.parametrize("beam", [1, 2])
@pytest.mark.parametrize("contrast", [(), (("a b x", -0.5),)])
def test_the_text_is_the_same_whether_groups_share_batches(tokenizer, beam, contrast):
    engine = TransformersEngine(small_model(tokenizer), tokenizer)
    requests = [
        Request(f"a b {group} {text}", contrast, group=group)
        for text in ("a b", "c", "d e")
        for group in ("it-nl", "nl-it")
    ]
    settings = Settings(beam, 5, 10_000)
    (together,) = (sorted(part) for part in decode_in_parts(engine, tokenizer, requests, settings))
    assert together == list(range(6))
    found = decode(engine, tokenizer, requests, settings)
    assert found == [decode(engine, tokenizer, [request], settings)[0] for request in requests]
    engine.joins_groups = False
    parts = [sorted(part) for part in decode_in_parts(engine, tokenizer, requests, settings)]
    assert parts == [[0, 2, 4], [1, 3, 5]]
    assert decode(engine, tokenizer, requests, settings) == found


def test_a_run_continues_with_the_batches_of_one_that_was_not_interrupted(tokenizer, tmp_path, monkeypatch):
    small_model(tokenizer).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "prompts").mkdir()
    for direction in ("it-nl", "nl-it"):
        rows = [
            {"prompt": f"{direction} {text}", "contrasts": [], "prompt_language": "en"} for text in ("a b", "c", "d")
        ]
        (tmp_path / f"prompts/{direction}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    searched = []
    search = TransformersEngine.search
    monkeypatch.setattr(
        TransformersEngine,
        "search",
        lambda self, batch, *rest: searched.append(len(batch)) or search(self, batch, *rest),
    )
    words = [
        "decode", "--model", tmp_path / "model", "--prompts", tmp_path / "prompts", "--output", tmp_path / "out",
        "--unfinished", tmp_path / "unfinished", "--keep-unfinished", "--beam", 1, "--max-new-tokens", 8,
        "--batch-tokens", 1000, "--directions", "it-nl", "nl-it",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", list(map(str, words)))

    def outputs() -> dict[str, str]:
        return {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}

    decode_script.main()
    whole = outputs()
    (finished,) = (tmp_path / "unfinished").iterdir()
    (finished / "it-nl.txt").write_text("finished 1\nfinished 2\nfinished 3\n")
    for path in finished.glob("nl-it.*"):
        path.unlink()
    decode_script.main()
    assert searched == [6, 6]
    # The other direction is decoded again with its batch, but not written again.
    assert outputs() == whole | {"it-nl.txt": "finished 1\nfinished 2\nfinished 3\n"}


def test_a_greedy_search_needs_no_probabilities():
    logits = torch.randn(20, 50, generator=torch.Generator().manual_seed(1))
    beams = Beams([5] * 20, 1, [1, 2], early_stopping=False)
    scores, ids = levels.best_tokens(logits, beams)
    expected = logits.log_softmax(-1).topk(3)
    assert torch.equal(ids, expected.indices)
    torch.testing.assert_close(scores, expected.values - expected.values[:, :1])


def test_a_beam_search_compares_probabilities():
    logits = torch.randn(20, 50, generator=torch.Generator().manual_seed(1))
    beams = Beams([5] * 5, 4, [1], early_stopping=False)
    scores, ids = levels.best_tokens(logits, beams)
    assert torch.equal(scores, logits.log_softmax(-1).gather(1, ids))


def test_a_prompt_as_long_as_the_window_gives_one_clear_error(tokenizer):
    with pytest.raises(InputError, match=r"line 2: a prompt of .* window of 64"):
        engine = TransformersEngine(small_model(tokenizer), tokenizer)
        decode(engine, tokenizer, [request("a"), request("a b " * 64)], Settings(1, 5, 1000))


@pytest.mark.parametrize("name", ["transformers", "ctranslate2"])
def test_a_line_that_nearly_fills_the_window_does_not_shorten_others(tokenizer, tmp_path, name):
    from ctranslate2.converters import TransformersConverter

    model = small_model(tokenizer, window=2010)
    long, short = request("a b " * 667), request("a")
    settings = Settings(1, 60, 10_000)
    if name == "ctranslate2":
        model.save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        TransformersConverter(str(tmp_path / "model")).convert(str(tmp_path / "converted"))
        engine = CTranslate2Engine(tmp_path / "converted", tokenizer, 2010, "float32", threads=1)
    else:
        engine = TransformersEngine(model, tokenizer)
    length = len(encode_prompt(tokenizer, long.prompt))
    assert 2000 <= length < 2010
    cut, whole = decode(engine, tokenizer, [long, short], settings)
    assert [whole] == decode(engine, tokenizer, [short], settings)
    # The output fits in the window, and it counts as truncated unless the model happened to end there.
    assert len(tokenizer(cut.text, add_special_tokens=False)["input_ids"]) <= 2 * (2010 - length)
    assert cut.truncated or len(cut.text) == 0


def test_an_empty_line_is_decoded_like_any_other_and_no_lines_give_no_output(tokenizer):
    engine = TransformersEngine(small_model(tokenizer), tokenizer)
    assert len(decode(engine, tokenizer, [request(""), request("a")], Settings(1, 5, 1000))) == 2
    assert decode(engine, tokenizer, [], Settings(1, 5, 1000)) == []


def test_the_next_header_ends_a_response():
    assert until_mark("Hallo.\n\n### Instruction:\nmore", ["\n\n###"]) == ("Hallo.", True)
    assert until_mark("Hallo.", ["\n\n###"]) == ("Hallo.", False)


def test_the_generation_defaults_of_a_model_are_not_used(tokenizer):
    model = small_model(tokenizer)
    expected = decode(TransformersEngine(model, tokenizer), tokenizer, [request("a b c")], Settings(4, 12, 600))
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.no_repeat_ngram_size = 1
    model.generation_config.do_sample = True
    found = decode(TransformersEngine(model, tokenizer), tokenizer, [request("a b c")], Settings(4, 12, 600))
    assert found == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_ctranslate2_gives_the_text_of_early_stopping(tokenizer, tmp_path, threads):
    from ctranslate2.converters import TransformersConverter

    torch.manual_seed(0)
    model = small_model(tokenizer)
    # Make the end token likely at every position, so that the stopping rule matters.
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] *= 4
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    TransformersConverter(str(tmp_path / "model")).convert(str(tmp_path / "converted"))
    requests = [request("a b c d e f g h i j k l m n"[: 1 + 2 * (n % 14)]) for n in range(30)]
    settings = Settings(4, 12, 600)
    reference = decode(TransformersEngine(model, tokenizer, early_stopping=True), tokenizer, requests, settings)
    engine = CTranslate2Engine(tmp_path / "converted", tokenizer, 64, "float32", threads)
    assert decode(engine, tokenizer, requests, settings) == reference
    assert decode(TransformersEngine(model, tokenizer), tokenizer, requests, settings) != reference
    with pytest.raises(InputError, match="engine: transformers"):
        decode(engine, tokenizer, [Request("a", (("b", -0.5),))], settings)


@pytest.mark.parametrize("name", ["transformers", "ctranslate2"])
def test_an_output_ends_with_the_turn_or_the_sequence(tokenizer, tmp_path, name):
    from ctranslate2.converters import TransformersConverter

    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens([AddedToken("<turn>", special=True, normalized=False)])
    model = small_model(tokenizer)
    ends = stop_tokens(tokenizer, "<turn>")
    with torch.no_grad():
        for factor, end in zip((4, 5), ends, strict=True):
            model.lm_head.weight[end] *= factor
    requests = [Request(["<turn>", "a b c d e f g h i j k"[: 1 + 2 * (n % 11)], "<turn>"], marks=()) for n in range(22)]
    settings = Settings(4, 12, 600)
    if name == "transformers":
        engine = TransformersEngine(model, tokenizer, True, ends)
    else:
        model.save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        TransformersConverter(str(tmp_path / "model")).convert(str(tmp_path / "converted"))
        engine = CTranslate2Engine(tmp_path / "converted", tokenizer, 64, "float32", 1, ends)
    found = {}
    for part in decode_in_parts(engine, tokenizer, requests, settings, ends=ends):
        found |= part
    last = set()
    for number, request in enumerate(requests):
        prompt = encode_prompt(tokenizer, request.prompt)
        assert prompt[0] == prompt[-1] == ends[0], "control tokens of the template, without a start token"
        (row,) = beam_search(model, [prompt], 4, 12, tokenizer, True, ends)
        output = through_end(row, ends)
        assert found[number].truncated == (output[-1] not in ends)
        assert found[number].text == tokenizer.decode(output, skip_special_tokens=True).strip()
        last.add(output[-1])
    assert last >= set(ends), "the test needs outputs that end with either token"


def test_marks_of_a_request_end_its_response_instead_of_the_headers(tokenizer):
    class Fixed:
        window = None

        def run(self, jobs, settings, done):
            yield {number: encode_text(tokenizer, "Een.\n\n### Input:\nb\nTask: c") for number in jobs}

    requests = [Request("a"), Request("a", marks=("\nTask:",)), Request("a", marks=())]
    (found,) = decode_in_parts(Fixed(), tokenizer, requests, Settings(1, 5, 100))
    assert [(hypothesis.text, hypothesis.truncated) for hypothesis in found.values()] == [
        ("Een.", False), ("Een. ### Input: b", False), ("Een. ### Input: b Task: c", True),
    ]  # fmt: skip


class FakeLLM:
    """A `vllm.LLM` that runs a model of transformers, with requests and answers in types like those of vLLM."""

    def __init__(self, model, **settings):
        self.network, self.settings, self.calls = FakeLLM.network, settings, []

    @torch.inference_mode()
    def generate(self, prompts, params, use_tqdm):
        self.calls.append(len(prompts))
        params = params if isinstance(params, list) else [params] * len(prompts)
        answers = []
        for prompt, wanted in zip(prompts, params, strict=True):
            tokens, listed = [], []
            while len(tokens) < wanted["max_tokens"] and not {*tokens} & {*wanted.get("stop_token_ids", ())}:
                ids = torch.tensor([[*prompt["prompt_token_ids"], *tokens]])
                values, order = self.network(ids).logits[0, -1].log_softmax(-1).sort(descending=True)
                tokens.append(int(order[0]))
                best = zip(order.tolist(), values.tolist(), range(1, wanted.get("logprobs", 0) + 1), strict=False)
                listed.append({i: SimpleNamespace(logprob=value, rank=rank) for i, value, rank in best})
            answers.append(SimpleNamespace(outputs=[SimpleNamespace(token_ids=tokens, logprobs=listed)]))
        return answers


@pytest.fixture
def vllm(monkeypatch, tmp_path, llama):
    """Start the engine on the fake vLLM."""
    fake = SimpleNamespace(LLM=FakeLLM, SamplingParams=lambda **settings: settings)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    with torch.no_grad():
        llama.lm_head.weight[Tiny.eos_token_id] *= 3
    FakeLLM.network = llama

    def start(early_stopping=False, gpus=0, ends=(Tiny.eos_token_id,)):
        engine = VllmEngine(tmp_path, ends, 64, "bf16", early_stopping, gpus)
        engine.llm.calls.clear()  # a first call shows whether the model runs
        return engine

    return start


def test_vllm_is_started_for_the_device(vllm):
    common = {"dtype": "bfloat16", "enable_prefix_caching": True, "disable_log_stats": True}
    assert vllm(gpus=2).llm.settings == common | {"tensor_parallel_size": 2}
    assert vllm(gpus=0).llm.settings == common | {"enforce_eager": True, "block_size": 32}


def test_greedy_search_is_one_call_of_vllm_for_all_lines(vllm, llama):
    jobs = {number: Job([(prompt, 1.0)], 8, f"group {number % 2}") for number, prompt in enumerate(prompts(12))}
    engine = vllm()
    (found,) = engine.run(jobs, Settings(1, 8, 100), done={3})
    assert engine.llm.calls == [11]
    assert 3 not in found
    for number, output in found.items():
        assert output == trimmed(beam_search(llama, [jobs[number].prompts[0][0]], 1, 8, Tiny)[0])


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("batch_tokens", [1, 150, 10_000])
def test_beam_search_on_vllm_has_the_rules_of_transformers(vllm, llama, early_stopping, batch_tokens):
    jobs = {number: Job([(prompt, 1.0)], 8) for number, prompt in enumerate(prompts(12))}
    engine = vllm(early_stopping)
    found = {}
    for part in engine.run(jobs, Settings(4, 8, batch_tokens), done={3}):
        assert not found.keys() & part.keys()
        found |= part
    assert found.keys() == jobs.keys() - {3}
    for number, output in found.items():
        expected = beam_search(llama, [jobs[number].prompts[0][0]], 4, 8, Tiny, early_stopping)
        assert output == trimmed(expected[0])
    # At most the stored tokens of `batch_tokens` at once: 4 x 8 new ones and the prompt.
    assert max(engine.llm.calls) <= max(1, batch_tokens // (4 * 8 + 1)) * 4
    # A search that never stopped early would take 8 steps for each line.
    assert len(engine.llm.calls) < 8 * 11 if batch_tokens == 1 else True


@pytest.mark.parametrize(("beam", "choose"), [(1, rival_tokens), (4, frequent_tokens)])
def test_vllm_stops_at_every_end_token(vllm, llama, beam, choose):
    batch = prompts(12)
    ends = choose(llama, batch)
    found = {}
    for part in vllm(ends=ends).run(
        {n: Job([(ids, 1.0)], 8) for n, ids in enumerate(batch)}, Settings(beam, 8, 150), ()
    ):
        found |= part
    expected = [beam_search(llama, [prompt], beam, 8, Tiny, ends=ends)[0] for prompt in batch]
    assert [found[number] for number in range(12)] == [through_end(row, ends) for row in expected]
    for end in ends:
        alone = [beam_search(llama, [prompt], beam, 8, Tiny, ends=[end])[0] for prompt in batch]
        assert [found[number] for number in range(12)] != [through_end(row, [end]) for row in alone], end


def test_vllm_refuses_contrasts(vllm):
    jobs = {0: Job([([5], 1.0), ([6], -0.5)], 12)}
    with pytest.raises(InputError, match="engine: transformers"):
        vllm().run(jobs, Settings(1, 12, 100), done=())


def test_without_vllm_there_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match="engine: vllm is not installed here; run `make vllm`"):
        VllmEngine(tmp_path, 1, 64, "bf16", False, 1)


def test_a_compute_type_that_the_machine_lacks_is_one_clear_error(monkeypatch, tmp_path, tokenizer):
    monkeypatch.setattr("ctranslate2.get_supported_compute_types", lambda device: {"float32", "int8"})
    with pytest.raises(InputError, match=r"cannot compute with bfloat16; choose one of float32, int8$"):
        CTranslate2Engine(tmp_path, tokenizer, 64, "bfloat16", 1)


def recurrent(kind: str, **values) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=1, pad_token_id=2, num_hidden_layers=2, **values
    )
    return AutoModelForCausalLM.from_config(config).eval()


def test_models_whose_caches_are_keys_and_values_are_searched_by_levels(model):
    assert probe_levels(model, 2)
    assert probe_search(model, 2)
    assert probe_contrastive(model, 2)
    # The probe leaves the attention as it was.
    assert model.config._attn_implementation != "levels"


def test_a_hybrid_model_is_decoded_by_transformers(caplog):
    layers = {"layer_types": ["conv", "full_attention"], "block_multiple_of": 16}
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = recurrent("lfm2", **shape, **layers)
    assert probe_search(model, 2) and not probe_levels(model, 2)
    with caplog.at_level("INFO", logger="lat"):
        engine = TransformersEngine(model, Tiny)
    assert "lfm2: keys and values are stored for each hypothesis" in caplog.text
    batch = prompts(3)
    expected = beam_search(model, batch, 2, 4, Tiny)
    assert engine.search([[(prompt, 1.0)] for prompt in batch], 2, 4, 0) == expected


def test_a_model_that_ignores_padding_is_one_clear_error(tokenizer):
    engine = TransformersEngine(recurrent("rwkv", hidden_size=64, attention_hidden_size=64), tokenizer)
    with pytest.raises(InputError, match="rwkv: beam search in batches gives other results than line by line"):
        engine.search([[([5, 6, 7], 1.0)]], 1, 4, 0)
    with pytest.raises(InputError, match="rwkv: contrastive decoding in batches gives other results"):
        engine.search([[([5, 6, 7], 1.0), ([5, 6], -0.5)]], 1, 4, 0)
