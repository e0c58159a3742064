"""The losses equal their definitions, computed in fp64, over the whole range of p."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.lat.training.losses import ONE_MINUS_P_FLOOR, unlikelihood


@given(st.floats(min_value=-80, max_value=-1e-6))
def test_unlikelihood_is_minus_log_of_one_minus_p(log_p):
    value = torch.tensor(log_p, dtype=torch.float32)
    exact = -math.log(max(-math.expm1(value.item()), ONE_MINUS_P_FLOOR))
    if value.item() < -1:
        exact = -math.log1p(-math.exp(value.item()))
    assert unlikelihood(value).item() == pytest.approx(exact, rel=1e-5, abs=1e-38)


@given(st.floats(min_value=-80, max_value=-1e-4))
def test_gradient_of_unlikelihood_is_the_odds(log_p):
    value = torch.tensor(log_p, dtype=torch.float32, requires_grad=True)
    unlikelihood(value).backward()
    # d/dx of -log(1 - e^x) is e^x / (1 - e^x), the odds of the token.
    assert value.grad.item() == pytest.approx(math.exp(value.item()) / -math.expm1(value.item()), rel=1e-4, abs=1e-38)


@pytest.mark.parametrize("log_p", [0.0, -1e-12])
def test_a_certain_token_has_the_loss_of_the_published_floor_and_no_gradient(log_p):
    value = torch.tensor([log_p], requires_grad=True)
    loss = unlikelihood(value)
    loss.sum().backward()
    assert loss.item() == pytest.approx(-math.log(1e-9))
    assert value.grad.item() == 0.0


def test_an_impossible_token_has_zero_loss():
    value = torch.tensor([-200.0, float("-inf")], requires_grad=True)
    loss = unlikelihood(value)
    loss.sum().backward()
    assert loss.tolist() == [0.0, 0.0]
    assert torch.isfinite(value.grad).all()
