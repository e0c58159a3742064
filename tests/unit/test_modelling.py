"""One forward pass over packed sequences equals the plain version: one pass per sequence, full logits, fp64."""

import itertools

import pytest
import torch

from tests.conftest import VOCABULARY
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.training import head
from workflow_scripts.lat.training.layout import LAYOUTS
from workflow_scripts.lat.training.modelling import IGNORED, ResponseLoss, TokenSequence, pack
from workflow_scripts.lat.training.prefixes import share_prefixes
from workflow_scripts.lat.training.samples import EncodedSample, to_tensors, without_conflicts


def samples(seed: int = 3) -> list[EncodedSample]:
    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()

    # Token counts of prompt, response and conflict: with a prompt and a response of a single token each, and with
    # conflicts that are shorter or longer than their prompt.
    shapes = [(9, 6, 9), (1, 4, 3), (14, 1, 12), (5, 11, 8)]
    return [EncodedSample(tokens(prompt), tokens(response), tokens(conflict)) for prompt, response, conflict in shapes]


def alike(seed: int = 5) -> list[EncodedSample]:
    """Samples whose prompts begin alike: all with the same tokens, and those of one direction with more of them."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()

    beginning, header = tokens(21), tokens(3)
    directions = [beginning + tokens(count) for count in (19, 20)]
    data = []
    for number in range(10):
        source, response = tokens(1 + number), tokens(1 + number % 4)
        prompts = [directions[index] + source + header for index in (number % 2, (number + number // 4) % 2)]
        data.append(EncodedSample(prompts[0], response, prompts[1]))
    # Two equal prompts with different responses, and a prompt that ends where the others go on.
    return [*data, EncodedSample(data[0].prompt, tokens(2), beginning)]


def plain_loss(model, samples, alpha):
    """The objective by its definition, one sample at a time: full logits, softmax, log; no packing and no masks."""
    likelihood, unlikelihood, count = 0.0, 0.0, sum(len(sample.response) for sample in samples)
    for sample in samples:
        for prompt, conflicting in ((sample.prompt, False), (sample.conflict, True)):
            logits = model(input_ids=torch.tensor([prompt + sample.response])).logits[0].double()
            p = torch.softmax(logits[len(prompt) - 1 : -1], -1)[range(len(sample.response)), sample.response]
            if conflicting:
                unlikelihood = unlikelihood - torch.log(torch.clamp(1 - p, min=1e-9)).sum()
            else:
                likelihood = likelihood - torch.log(p).sum()
    return likelihood / count + alpha * unlikelihood / count


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def packed(samples, layout="rows"):
    return to_tensors(samples, pad=2, layout=layout, device=torch.device("cpu"))


def assert_same_gradients(found, expected, tolerance=1e-5):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        error = (found[name].double() - gradient.double()).norm() / gradient.double().norm()
        assert error < tolerance, f"{name}: {error}"


@pytest.mark.parametrize("slice_values", [VOCABULARY * 3, 2**23], ids=["many slices", "one slice"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_loss_and_every_gradient_equal_the_plain_version(model, layout, slice_values, monkeypatch):
    monkeypatch.setattr(head, "SLICE_VALUES", slice_values)
    data, alpha = samples(), 0.3
    expected = plain_loss(model.double(), data, alpha)
    expected_gradients = gradients(model, expected)

    total, parts = ResponseLoss(model.float(), alpha)(**packed(data, layout))
    count = sum(len(sample.response) for sample in data)
    torch.testing.assert_close((total / count).double(), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(parts @ torch.tensor([1.0, alpha]), total, rtol=1e-6, atol=0)
    assert_same_gradients(gradients(model, total / count), expected_gradients)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_conflicts_every_gradient_is_that_of_alpha_0(model, layout):
    data = samples()
    assert any(sample.conflict for sample in data)
    count = sum(len(sample.response) for sample in data)
    expected = gradients(model, plain_loss(model.double(), data, 0.0))
    total, parts = ResponseLoss(model.float(), 0.0)(**packed(without_conflicts(data), layout))
    assert parts[1] == 0
    assert_same_gradients(gradients(model, total / count), expected)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
def test_a_shared_beginning_is_computed_once_and_every_gradient_equals_the_plain_version(model, checkpointing):
    data, alpha = alike(), 0.3
    expected = plain_loss(model.double(), data, alpha)
    expected_gradients = gradients(model, expected)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()

    tensors = packed(data, "tree")
    depths = {siblings.depth for siblings in tensors["tree"].siblings}
    assert depths == {0, 20, 40, 41}
    assert tensors["input_ids"].numel() < 0.5 * sum(sample.tokens for sample in data)
    total, _ = ResponseLoss(model.float(), alpha)(**tensors)
    count = sum(len(sample.response) for sample in data)
    torch.testing.assert_close((total / count).double(), expected, rtol=1e-5, atol=0)
    assert_same_gradients(gradients(model, total / count), expected_gradients)


def test_a_shared_beginning_in_bf16_gives_gradients_close_to_those_in_fp32(model):
    data = alike()
    found = []
    for layout, cast in (("padded", model.float()), ("tree", model.bfloat16())):
        total, _ = ResponseLoss(cast, 0.3)(**packed(data, layout))
        found.append(torch.cat([gradient.float().flatten() for gradient in gradients(cast, total).values()]))
    assert (found[1] - found[0]).norm() / found[0].norm() < 0.05


def test_a_model_with_shared_beginnings_computes_the_same_without_them(model):
    ids = torch.tensor([samples()[0].prompt * 3])
    expected = model(ids).logits
    ResponseLoss(model, 0.3)(**packed(alike(), "tree"))
    assert torch.equal(model(ids).logits, expected)


def test_attention_that_cannot_be_replaced_is_an_error_and_not_another_loss(llama):
    llama.set_attn_implementation("eager")
    with pytest.raises(NotImplementedError, match="llama with the attention eager"):
        ResponseLoss(llama, 0.3)(**packed(alike(), "tree"))


def test_every_token_of_a_sequence_is_found_in_the_row():
    sequences = [sample.prompt + sample.response for sample in alike()]
    shareable = [len(sample.prompt) - 1 for sample in alike()]
    row = share_prefixes(sequences, shareable)
    starts = [0, *itertools.accumulate(each.runs * (each.depth + each.length) for each in row.tree.siblings)]
    found = {}
    for siblings, start, end in zip(row.tree.siblings, starts, starts[1:], strict=False):
        for run in row.tree.keys[start:end].view(siblings.runs, -1).tolist():
            path = run[: run.index(run[-1]) + 1]  # without padding
            assert [row.positions[place] for place in path] == list(range(len(path)))
            found[path[-1] + 1] = [row.tokens[place] for place in path]
    assert [found[end] for end in row.ends] == sequences
    assert torch.equal(row.tree.queries[row.tree.query_places], torch.arange(len(row.tokens)))
    assert torch.equal(row.tree.keys[row.tree.key_places], torch.arange(len(row.tokens)))


@pytest.mark.parametrize("scale", [0.02, 1.0, 8.0], ids=["flat", "peaked", "certain"])
def test_the_head_equals_the_plain_version_for_flat_and_peaked_distributions(llama, scale):
    torch.manual_seed(0)
    with torch.no_grad():
        llama.get_output_embeddings().weight.normal_(std=scale)
    data = samples()
    expected = gradients(llama.double(), plain_loss(llama, data, 0.7))
    total, _ = ResponseLoss(llama.float(), 0.7)(**packed(data))
    found = gradients(llama, total / sum(len(sample.response) for sample in data))
    assert_same_gradients(found, expected, tolerance=5e-5 if scale > 1 else 1e-5)


def test_loss_and_gradients_in_bf16_are_close_to_those_in_fp32(model):
    data = samples()
    total, _ = ResponseLoss(model, 0.3)(**packed(data))
    expected = gradients(model, total)
    low, _ = ResponseLoss(model.bfloat16(), 0.3)(**packed(data))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, total, rtol=0.02, atol=0)
    found = gradients(model, low)
    found_vector, expected_vector = (
        torch.cat([gradient.float().flatten() for gradient in named.values()]) for named in (found, expected)
    )
    assert (found_vector - expected_vector).norm() / expected_vector.norm() < 0.05


def test_a_frozen_head_gets_no_gradient_but_passes_it_to_the_layers_below(llama):
    data = samples()
    total, _ = ResponseLoss(llama, 0.3)(**packed(data))
    expected = gradients(llama, total)
    llama.get_output_embeddings().weight.requires_grad_(False)
    llama.zero_grad()
    ResponseLoss(llama, 0.3)(**packed(data))[0].backward()
    for name, parameter in llama.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, expected[name])
        else:
            assert parameter.grad is None


def test_logits_never_exist_for_more_than_a_slice_of_response_tokens(llama, monkeypatch):
    token_counts = []
    plain = head._logits

    def counted(hidden, *rest):
        token_counts.append(len(hidden))
        return plain(hidden, *rest)

    monkeypatch.setattr(head, "_logits", counted)
    data = samples()
    loss = ResponseLoss(llama, 0.3)
    token_counts.clear()  # without the comparison with the model in the constructor
    monkeypatch.setattr(head, "SLICE_VALUES", 10 * VOCABULARY)
    loss(**packed(data))
    assert sum(token_counts) == 2 * sum(len(sample.response) for sample in data)
    assert max(token_counts) <= 10


def test_a_head_that_is_more_than_a_matrix_product_gives_one_clear_error(llama):
    plain = llama.lm_head.forward
    llama.lm_head.forward = lambda hidden: 2 * plain(hidden)
    with pytest.raises(InputError, match="llama: its logits are more than a matrix product"):
        ResponseLoss(llama, 0.3)


def test_packing_keeps_every_token_once_and_leaves_little_padding():
    sequences = [TokenSequence([3] * (1 + n % 7), [4] * (1 + n % 5), conflicting=n % 2 == 1) for n in range(40)]
    tensors = pack(sequences, pad=2, layout="rows")
    assert tensors["input_ids"].shape[1] == max(map(len, sequences))
    assert (tensors["input_ids"] == 3).sum() == sum(len(sequence.prompt) for sequence in sequences)
    assert (tensors["labels"] != IGNORED).sum() == sum(len(sequence.response) for sequence in sequences)
    conflicting = sum(len(sequence.response) for sequence in sequences if sequence.conflicting)
    assert tensors["conflicting"].sum() == conflicting
    starts = ((tensors["position_ids"] == 0) & (tensors["input_ids"] != 2)).sum()
    assert starts == len(sequences)
    assert (tensors["input_ids"] == 2).float().mean() < 0.15
