"""One packed forward over response positions equals the plain way: a forward a sequence, full logits, fp64."""

import pytest
import torch

from tests.conftest import VOCABULARY
from workflow_scripts.lat.modelling import IGNORED, ResponseLoss, TokenSequence, pack
from workflow_scripts.lat.training import Sample, to_tensors


def samples(seed: int = 3) -> list[Sample]:
    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()

    # a one-token response, a prompt of the start token alone, a conflict of another length than its prompt
    shapes = [(9, 6, 9), (1, 4, 3), (14, 1, 12), (5, 11, 8)]
    return [Sample(tokens(prompt), tokens(response), tokens(conflict)) for prompt, response, conflict in shapes]


def plain_loss(model, samples, alpha):
    """The definition, a sample at a time: full logits, softmax, log; no sharing, no masking tricks."""
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


@pytest.mark.parametrize("single_row", [False, True])
def test_loss_and_every_gradient_equal_the_plain_version(model, single_row):
    data, alpha = samples(), 0.3
    expected = plain_loss(model.double(), data, alpha)
    expected_gradients = gradients(model, expected)

    likelihood, unlikelihood = ResponseLoss(model.float())(
        **to_tensors(data, pad=2, single_row=single_row, device=torch.device("cpu"))
    )
    found = (likelihood + alpha * unlikelihood) / sum(len(sample.response) for sample in data)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)
    for name, gradient in gradients(model, found).items():
        scale = expected_gradients[name].abs().max().item()
        torch.testing.assert_close(
            gradient.double(),
            expected_gradients[name].double(),
            rtol=1e-4,
            atol=1e-5 * scale,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def test_the_head_sees_response_positions_only(llama, monkeypatch):
    seen = []
    head = llama.get_output_embeddings()
    plain = head.forward
    monkeypatch.setattr(head, "forward", lambda hidden: (seen.append(len(hidden)), plain(hidden))[1])
    data = samples()
    ResponseLoss(llama)(**to_tensors(data, pad=2, single_row=False, device=torch.device("cpu")))
    assert seen == [2 * sum(len(sample.response) for sample in data)]


def test_packing_keeps_every_token_once_and_leaves_little_padding():
    sequences = [TokenSequence([3] * (1 + n % 7), [4] * (1 + n % 5), conflicting=n % 2 == 1) for n in range(40)]
    tensors = pack(sequences, pad=2, single_row=False)
    assert tensors["input_ids"].shape[1] == max(map(len, sequences))
    assert (tensors["input_ids"] == 3).sum() == sum(len(sequence.prompt) for sequence in sequences)
    assert (tensors["labels"] != IGNORED).sum() == sum(len(sequence.response) for sequence in sequences)
    conflicting = sum(len(sequence.response) for sequence in sequences if sequence.conflicting)
    assert tensors["conflicting"].sum() == conflicting
    starts = ((tensors["position_ids"] == 0) & (tensors["input_ids"] != 2)).sum()
    assert starts == len(sequences)
    assert (tensors["input_ids"] == 2).float().mean() < 0.15
