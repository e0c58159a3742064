"""The preference losses of packed pairs equal their plain definition: one pass per response, full logits, fp64."""

import dataclasses
import math

import pytest
import torch

from tests.conftest import VOCABULARY
from tests.unit.test_modelling import assert_same_gradients, gradients
from workflow_scripts.lat.files import InputError, write_jsonl
from workflow_scripts.lat.training import head
from workflow_scripts.lat.training.hyperparameters import PUBLISHED, Preference, preference_of
from workflow_scripts.lat.training.layout import LAYOUTS
from workflow_scripts.lat.training.modelling import IGNORED, ResponseLoss, TokenSequence, pack
from workflow_scripts.lat.training.pairs import EncodedPair, PreferenceLoss, pair_tensors, read_pairs
from workflow_scripts.lat.training.samples import EncodedSample, to_tensors
from workflow_scripts.lat.training.tokenizing import train_tokenizer

CPU = torch.device("cpu")
# Weights that are not the published ones, so that none of them is 0 or 1.
OBJECTIVES = [Preference(loss, weight=0.7, likelihood=0.4, beta=0.3) for loss in PUBLISHED]


def pairs(seed: int = 3) -> list[EncodedPair]:
    """Pairs whose prompts begin alike, with responses of 1 to 8 tokens, and made-up values of the model before."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()

    beginning = tokens(22)
    shapes = [(9, 6, 3), (1, 1, 5), (14, 2, 1), (5, 8, 8)]
    return [
        EncodedPair(
            prompt=(beginning if number % 2 else []) + tokens(prompt),
            response=tokens(chosen),
            rejected=tokens(rejected),
            reference=(-3.0 * chosen - number, -4.0 * rejected + number),
        )
        for number, (prompt, chosen, rejected) in enumerate(shapes)
    ]


def plain_sum(model, prompt, response):
    """The sum of log p over the tokens of a response, by a softmax over all logits."""
    logits = model(input_ids=torch.tensor([prompt + response])).logits[0].double()
    p = torch.softmax(logits[len(prompt) - 1 : -1], -1)[range(len(response)), response]
    return torch.log(p).sum()


def plain_objective(model, data, preference):
    """The objective by the formulas of the papers, one response at a time."""
    likelihood, total, count = 0.0, 0.0, sum(len(pair.response) for pair in data)
    for pair in data:
        chosen, rejected = (plain_sum(model, pair.prompt, text) for text in (pair.response, pair.rejected))
        likelihood = likelihood - chosen
        if preference.loss == "orpo":
            p = [torch.exp(chosen / len(pair.response)), torch.exp(rejected / len(pair.rejected))]
            ratio = (p[0] / (1 - p[0])) / (p[1] / (1 - p[1]))
            total = total - torch.log(torch.sigmoid(torch.log(ratio)))
        else:
            before = pair.reference if preference.loss == "dpo" else (0.0, 0.0)
            margin = preference.beta * ((chosen - before[0]) - (rejected - before[1]))
            total = total - torch.log(torch.sigmoid(margin))
    return preference.likelihood * likelihood / count + preference.weight * total / len(data)


def objective(module, data, layout="rows"):
    """The objective of the workflow for one global batch, and its parts."""
    count = sum(len(pair.response) for pair in data)
    total, parts = module(**pair_tensors(data, data, pad=2, layout=layout, device=CPU), scale=1 / count)
    return total, parts / count


@pytest.mark.parametrize("slice_values", [VOCABULARY * 3, 2**23], ids=["many slices", "one slice"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("preference", OBJECTIVES, ids=lambda preference: preference.loss)
def test_objective_and_every_gradient_equal_the_plain_version(model, preference, layout, slice_values, monkeypatch):
    monkeypatch.setattr(head, "SLICE_VALUES", slice_values)
    data = pairs()
    expected = plain_objective(model.double(), data, preference)
    expected_gradients = gradients(model, expected)

    module = PreferenceLoss(model.float(), preference)
    total, parts = objective(module, data, layout)
    torch.testing.assert_close(total.double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(parts @ torch.tensor(module.factors), total, rtol=1e-6, atol=0)
    assert_same_gradients(gradients(model, total), expected_gradients)


@pytest.mark.parametrize("preference", OBJECTIVES, ids=lambda preference: preference.loss)
def test_the_gradient_of_the_objective_pushes_the_two_responses_apart(llama, preference):
    data = pairs()[:1]
    before = [plain_sum(llama, data[0].prompt, text).item() for text in (data[0].response, data[0].rejected)]
    only_preference = dataclasses.replace(preference, likelihood=0.0)
    total, _ = objective(PreferenceLoss(llama, only_preference), data)
    found = gradients(llama, total)
    with torch.no_grad():
        for name, parameter in llama.named_parameters():
            parameter -= 0.01 * found[name]
    after = [plain_sum(llama, data[0].prompt, text).item() for text in (data[0].response, data[0].rejected)]
    assert after[0] - after[1] > before[0] - before[1]


def test_the_accuracy_is_the_share_of_preferred_chosen_responses(llama):
    data = pairs()
    for preference in OBJECTIVES:
        preferred = []
        for pair in data:
            sums = [plain_sum(llama, pair.prompt, text).item() for text in (pair.response, pair.rejected)]
            if preference.loss == "orpo":
                sums = [sums[0] / len(pair.response), sums[1] / len(pair.rejected)]
            if preference.loss == "dpo":
                sums = [value - before for value, before in zip(sums, pair.reference, strict=True)]
            preferred.append(sums[0] > sums[1])
        _, parts = objective(PreferenceLoss(llama, preference), data)
        assert parts[2].item() == pytest.approx(sum(preferred) / len(data))


def test_without_the_preference_loss_the_chosen_responses_are_trained_as_in_stage_1(llama):
    data = pairs()
    total, _ = objective(PreferenceLoss(llama, preference_of("orpo", weight=0.0)), data)
    found = gradients(llama, total)
    alone = [EncodedSample(pair.prompt, pair.response) for pair in data]
    expected, _ = ResponseLoss(llama, 0.0)(**to_tensors(alone, pad=2, layout="rows", device=CPU))
    count = sum(len(pair.response) for pair in data)
    torch.testing.assert_close(total, expected / count)
    assert_same_gradients(found, gradients(llama, expected / count))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_sums_of_the_first_pass_are_those_of_every_response(llama, layout):
    data = pairs()
    module = PreferenceLoss(llama, preference_of("dpo"))
    with torch.no_grad():
        found = module(**pair_tensors(data, data, pad=2, layout=layout, device=CPU), only_sums=True)
        texts = [(pair.response, pair.rejected) for pair in data]
        expected = [[plain_sum(llama, pair.prompt, both[side]) for pair, both in zip(data, texts, strict=True)]
                    for side in (0, 1)]  # fmt: skip
    torch.testing.assert_close(found, torch.tensor(expected).float())


@pytest.mark.parametrize("scale", [0.02, 8.0], ids=["flat", "certain"])
def test_certain_responses_give_finite_values_and_gradients(llama, scale):
    torch.manual_seed(0)
    with torch.no_grad():
        llama.get_output_embeddings().weight.normal_(std=scale)
    # The chosen response is one token that the model is sure of, so that 1 - P is nearly 0.
    best = llama(input_ids=torch.tensor([[5, 9]])).logits[0, -1].argmax().item()
    data = [EncodedPair(prompt=[5, 9], response=[best], rejected=[4, 7])]
    for loss in PUBLISHED:
        total, parts = objective(PreferenceLoss(llama, preference_of(loss)), data)
        found = gradients(llama, total)
        assert torch.isfinite(parts).all()
        assert all(torch.isfinite(gradient).all() for gradient in found.values())


def test_before_the_first_step_dpo_is_undecided(llama):
    data = pairs()
    module = PreferenceLoss(llama, preference_of("dpo"))
    with torch.no_grad():
        sums = module(**pair_tensors(data, data, pad=2, layout="rows", device=CPU), only_sums=True).t().tolist()
    data = [dataclasses.replace(pair, reference=tuple(both)) for pair, both in zip(data, sums, strict=True)]
    total, _ = objective(module, data)
    assert total.item() == pytest.approx(math.log(2))


def test_weights_are_the_published_ones_unless_they_are_given():
    assert preference_of("orpo") == Preference("orpo", weight=0.1, likelihood=1.0, beta=0.1)
    assert preference_of("cpo") == Preference("cpo", weight=1.0, likelihood=1.0, beta=0.1)
    assert preference_of("dpo") == Preference("dpo", weight=1.0, likelihood=0.0, beta=0.1)
    assert preference_of("dpo", weight=0.0, likelihood=1.0) == Preference("dpo", 0.0, 1.0, 0.1)
    assert preference_of("dpo").needs_reference and not preference_of("dpo", weight=0.0).needs_reference


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_label_has_the_number_of_its_sequence(layout):
    sequences = [TokenSequence([3] * (9 + n % 4), [4 + n] * (1 + n % 5)) for n in range(12)]
    tensors = pack(sequences, pad=2, layout=layout, numbered=True)
    labels, numbers = tensors["labels"], tensors["numbers"]
    assert torch.equal(labels == IGNORED, numbers == IGNORED)
    assert torch.equal(labels[labels != IGNORED] - 4, numbers[numbers != IGNORED])
    assert "numbers" not in pack(sequences, pad=2, layout=layout)


def test_pairs_are_read_and_long_ones_left_out(tmp_path):
    tokenizer = train_tokenizer(["the quick brown fox jumps over the lazy dog"] * 5, 300)
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": "the", "response": "fox", "rejected": "dog"}]
    write_jsonl(path, [*rows, {"prompt": "the", "response": "fox", "rejected": "dog " * 40}])
    found, left_out = read_pairs(path, tokenizer, 32)
    assert (len(found), left_out) == (1, 1)
    assert tokenizer.decode(found[0].rejected) == "dog</s>"
    write_jsonl(path, [{"prompt": "the", "response": "fox"}])
    with pytest.raises(InputError, match="a sample has no 'rejected'"):
        read_pairs(path, tokenizer, 32)
