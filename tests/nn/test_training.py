"""`nn.training.fit`: repeatability, agreement of libraries, interruption, divergence, bad settings."""

import numpy as np
import pytest

import xpconv
from xpconv._tools.libraries import load
from xpconv.data import load_digits
from xpconv.nn import SoftmaxCrossEntropy, course_network
from xpconv.nn.training import Dataset, Settings, TrainingError, fit

NUMPY = load("numpy")


class Silent:
    """Progress that remembers, and interrupts after so many batches."""

    def __init__(self, interrupt_after=None):
        self.left, self.batches, self.records = interrupt_after, [], []

    def batch(self, epoch, images, loss, accuracy, rate):
        self.batches.append((epoch, images))
        if self.left == len(self.batches):
            raise KeyboardInterrupt

    def epoch(self, record):
        self.records.append(record)


def digits(images=None):
    """Hold out every fifth of the digits, or of the first so many, in which an epoch takes no time."""
    values, labels = load_digits()
    values, labels = values[:images, :, :, None].astype("float32") / 16, labels[:images].astype("int32")
    kept = np.arange(len(values)) % 5 != 4
    return Dataset(values[kept], labels[kept], values[~kept], labels[~kept])


SMALL = digits(120)
SHORT = Settings(epochs=2, batch_size=32, seed=5)


@pytest.fixture(scope="module")
def short_run(backend):
    return fit(course_network(10), SMALL, backend.library, SHORT, progress=Silent())


def test_one_seed_gives_one_result_to_the_bit(backend, short_run):
    again = fit(course_network(10), SMALL, backend.library, SHORT, progress=Silent())
    assert again.first_losses == short_run.first_losses
    for name, value in again.params.items():
        assert backend.to_numpy(value).tobytes() == backend.to_numpy(short_run.params[name]).tobytes()


def test_the_number_of_threads_changes_no_bit():
    settings = Settings(epochs=1)
    with xpconv.set_options(threads=1):
        alone = fit(course_network(10), SMALL, NUMPY, settings, progress=Silent())
    with xpconv.set_options(threads=3):
        together = fit(course_network(10), SMALL, NUMPY, settings, progress=Silent())
    for name, value in alone.params.items():
        assert value.tobytes() == together.params[name].tobytes()


def first_loss_and_bound(settings, data):
    """Give the first loss in float64, and how far float32 sums in any order may be from it.

    ReLU and max pooling are monotone and move no value further than its arguments moved. So the error of a logit is
    at most γ_K times the same network on absolute values, K the products and biases on a path: 10 + 289 + 257.
    The loss moves by at most twice the largest error of a row's logits, and is some 20 roundings itself.
    """
    model = course_network(10)
    params = model.init(settings.generator("weights"), data.images.shape[1:])
    batch = settings.generator("order").permutation(len(data.images))[: settings.batch_size]
    wide = {name: value.astype("float64") for name, value in params.items()}
    logits = model.predict(wide, data.images[batch].astype("float64"))
    magnitudes = {name: abs(value) for name, value in wide.items()}
    largest = model.predict(magnitudes, data.images[batch].astype("float64"))
    unit = 2.0**-24
    gamma = 556 * unit / (1 - 556 * unit)
    bound = np.mean(2 * gamma * largest.max(axis=1)) + 20 * unit * (1 + abs(logits).max())
    return SoftmaxCrossEntropy().forward(logits, data.labels[batch])[0], bound


def test_the_first_losses_agree_between_libraries(short_run):
    exact, bound = first_loss_and_bound(SHORT, SMALL)
    assert abs(short_run.first_losses[0] - exact) <= bound
    # Adam divides by the gradient's size, so rounding errors of tiny gradients grow: no bound here, but a batch of
    # other images moves the loss by tenths
    reference = fit(course_network(10), SMALL, NUMPY, SHORT, progress=Silent()).first_losses
    np.testing.assert_allclose(short_run.first_losses[:4], reference[:4], rtol=0, atol=0.01)


def test_the_bound_on_the_first_loss_tells_seeds_apart():
    exact, bound = first_loss_and_bound(SHORT, SMALL)
    for seed in range(5):
        other, _ = first_loss_and_bound(Settings(epochs=2, batch_size=32, seed=seed), SMALL)
        assert abs(other - exact) > bound


def test_sgd_learns_too():
    settings = Settings(epochs=4, optimizer="sgd")
    result = fit(course_network(10), digits(), NUMPY, settings, progress=Silent())
    assert result.accuracy > 0.9


@pytest.mark.parametrize("batches", [1, 4, 7])
def test_an_interrupt_keeps_what_was_learned(batches):
    settings = Settings(epochs=5, batch_size=32)
    stopped = fit(course_network(10), SMALL, NUMPY, settings, progress=Silent(interrupt_after=batches))
    assert stopped.interrupted
    calls = iter(range(1000))
    asked = fit(course_network(10), SMALL, NUMPY, settings, progress=Silent(), stopped=lambda: next(calls) == batches)
    assert asked.interrupted
    for name, value in stopped.params.items():
        np.testing.assert_array_equal(value, asked.params[name])
    assert sum(epoch.images for epoch in stopped.epochs) == 32 * batches
    assert len(stopped.predictions) == len(SMALL.held_out_labels)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "Settings: epochs is at least 1; got 0"),
        ({"batch_size": 1.5}, TypeError, "Settings: batch_size is an integer; got 1.5"),
        ({"lr": -1.0}, ValueError, "Settings: lr is in"),
        ({"seed": -1}, ValueError, "Settings: seed is at least 0; got -1"),
        ({"optimizer": "lbfgs"}, ValueError, "Settings: optimizer is one of adam, sgd; got 'lbfgs'"),
    ],
)
def test_settings_name_bad_input(options, error, message):
    with pytest.raises(error, match=message):
        Settings(**options)


def test_progress_is_told_of_every_batch_and_need_not_be_there():
    watched = Silent()
    result = fit(course_network(10), SMALL, NUMPY, SHORT, progress=watched)
    assert watched.batches == [(epoch, images) for epoch in (1, 2) for images in (32, 64, 96)]
    assert watched.records == result.epochs
    assert fit(course_network(10), SMALL, NUMPY, SHORT).first_losses == result.first_losses


def test_divergence_is_an_error_of_its_own():
    settings = Settings(epochs=3, optimizer="sgd", lr=1e30)
    with pytest.raises(TrainingError, match=r"nan in epoch 1, .*; try a step size"):
        fit(course_network(10), SMALL, NUMPY, settings, progress=Silent())
