"""The versions that the timing code compares compute the same result; their times are not tested."""

from timing import train_step


def test_plain_and_packed_training_step_have_the_same_gradients():
    assert train_step.check_equal("tiny") < 1e-4


def test_every_layout_of_the_sequences_has_the_same_loss():
    module = train_step.ResponseLoss(train_step.build("tiny"), train_step.ALPHA)
    samples = train_step.draw_batch("tiny", 6000, seed=1)
    losses = [train_step.packed_loss(module, samples, layout).item() for layout in ("packed", "padded", "one row")]
    assert max(losses) - min(losses) < 1e-5 * losses[0]
