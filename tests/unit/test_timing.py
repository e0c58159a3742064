"""The versions a benchmark compares give the same result; their times are no matter of tests."""

from timing import train_step


def test_the_plain_training_step_has_the_gradients_of_ours():
    assert train_step.check_equal("tiny") < 1e-4


def test_every_layout_of_our_step_has_the_same_loss():
    module = train_step.ResponseLoss(train_step.build("tiny"), train_step.ALPHA)
    samples = train_step.draw_batch("tiny", 6000, seed=1)
    losses = [train_step.our_loss(module, samples, layout).item() for layout in ("ours", "padded", "one row")]
    assert max(losses) - min(losses) < 1e-5 * losses[0]
