"""The versions that the timing code compares compute the same result; their times are not tested."""

import pytest

from timing import train_step
from workflow_scripts.lat.training.prefixes import _common_length


def test_the_training_steps_that_are_compared_have_the_same_gradients():
    assert train_step.check_equal("tiny") < 1e-4


def test_every_layout_of_the_sequences_has_the_same_loss():
    module = train_step.ResponseLoss(train_step.build("tiny"), train_step.ALPHA)
    samples = train_step.draw_batch("tiny", 6000, seed=1)
    losses = [train_step.workflow_loss(module, samples, layout).item() for layout in ("rows", "padded", "tree")]
    assert max(losses) - min(losses) < 1e-5 * losses[0]


@pytest.mark.parametrize("name", train_step.BATCHES)
def test_prompts_have_in_common_what_those_of_a_benchmark_have_in_common(name):
    lengths = train_step.BATCHES[name]
    batches = [train_step.draw_batch(name, 6000, seed) for seed in range(5)]
    prompts = [sample.prompt for batch in batches for sample in batch]
    assert _common_length(prompts) == lengths.beginning
    for batch in batches:
        assert len(batch) == lengths.samples
        for sample in batch:
            if lengths.conflicts:
                assert len(sample.conflict) == len(sample.prompt)
                assert sample.conflict != sample.prompt
