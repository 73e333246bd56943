"""Show how training goes: a live bar by rich on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from xpconv._tools import terminal
from xpconv.nn.training import Epoch


def epoch_line(record: Epoch, epochs: int) -> str:
    """Put one epoch in one line."""
    rate = record.images / record.seconds
    return (
        f"epoch {record.epoch:{len(str(epochs))}}/{epochs}   loss {record.loss:7.4f}   accuracy {record.accuracy:7.2%}"
        f"   held out {record.held_out_accuracy:7.2%}   {rate:7,.0f} images/s"
    )


class PlainProgress:
    """One line per epoch."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def batch(self, epoch: int, images: int, loss: float, accuracy: float, rate: float) -> None:
        """Say nothing."""

    def epoch(self, record: Epoch) -> None:
        """Print the line of the epoch."""
        print(epoch_line(record, self.epochs), flush=True)


class LiveProgress:
    """A bar over all epochs with the running numbers, and a line above it per epoch."""

    def __init__(self, epochs: int, images: int) -> None:
        progress = terminal.rich("progress")
        self.epochs, self.images, self.best = epochs, images, 0.0
        self.bar: Any = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=None),
            progress.TextColumn("{task.fields[numbers]}"),
            progress.TimeRemainingColumn(compact=True),
            expand=True,
            transient=True,  # every epoch leaves a line of its own
        )
        self.task = self.bar.add_task("epoch 1", total=epochs * images, numbers="")

    def __enter__(self) -> LiveProgress:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()

    def batch(self, epoch: int, images: int, loss: float, accuracy: float, rate: float) -> None:
        """Move the bar."""
        self.bar.update(
            self.task,
            completed=(epoch - 1) * self.images + images,
            description=f"epoch {epoch}/{self.epochs}",
            numbers=f"loss {loss:.4f}  accuracy {accuracy:.1%}  {rate:,.0f} images/s",
        )

    def epoch(self, record: Epoch) -> None:
        """Print the line of the epoch above the bar, the best so far in colour."""
        better = record.held_out_accuracy > self.best
        self.best = max(self.best, record.held_out_accuracy)
        terminal.say(epoch_line(record, self.epochs), "green" if better else None, self.bar.console)


def make_progress(epochs: int, images: int) -> PlainProgress | LiveProgress:
    """Choose the live bar where standard output is a terminal and rich is installed."""
    return LiveProgress(epochs, images) if terminal.rich_draws() else PlainProgress(epochs)
