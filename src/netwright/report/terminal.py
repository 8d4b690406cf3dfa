"""What a person sees while a network trains, and at the end."""

from __future__ import annotations

import io
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from netwright.report import figures
from netwright.report.slices import summary_lines

if TYPE_CHECKING:
    import rich.console
    import rich.progress
    import rich.text

SECONDS_BETWEEN_REDRAWS = 0.25
SECONDS_BETWEEN_LINES = 10.0
COLUMNS = 80
ROWS_AT_MOST = 20
MATRIX_AT_MOST = 12


class Progress:
    """Shows how far training is: a bar on a terminal, plain lines elsewhere, nothing when `quiet`.

    `epochs`, `steps_per_epoch`: the whole plan. `start_step`: steps already done (a resumed run).
    `stream`: where to write; None is standard error.

    Plain lines are one an epoch and, within a long epoch, one every 10 s. The bar is drawn from within
    `advance`, four times a second at most: rich's own refresh thread would take the interpreter lock away
    from the training loop.

    >>> with Progress(epochs=1, steps_per_epoch=2, stream=sys.stdout) as progress:
    ...     for loss in (0.7, 0.5):
    ...         progress.advance(loss)
    ...     progress.epoch({"epoch": 1, "epochs": 1, "train_loss": 0.6, "accuracy": 0.75, "seconds": 1.5, "best": True})
    epoch 1/1  loss 0.6000  accuracy  75.00%   1.5 s  best
    """

    def __init__(
        self,
        *,
        epochs: int,
        steps_per_epoch: int,
        start_step: int = 0,
        quiet: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self.epochs, self.steps_per_epoch, self.start_step, self.quiet = (
            epochs,
            steps_per_epoch,
            start_step,
            quiet,
        )
        self._stream = stream
        self._done = start_step
        self._due = float("inf")
        self._began = monotonic()
        self._console: rich.console.Console | None = None
        self._bar: rich.progress.Progress | None = None

    def __enter__(self) -> Progress:
        if self.quiet:
            return self
        self._console = console_on(self._stream or sys.stderr)
        if _can_redraw(self._console):
            self._bar = _bar(self._console)
            self._bar.add_task("", total=self.epochs * self.steps_per_epoch, line="starting")
            self._bar.start()
        self._began = monotonic()
        self._due = self._began + (0.0 if self._bar else SECONDS_BETWEEN_LINES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._due = float("inf")
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def advance(self, loss: Any) -> None:
        """Counts one step; costs a fifth of a microsecond unless something is due to be shown.

        `loss`: a number, a 0-d tensor, or a function that returns one. It is read (which makes an
        accelerator wait) only when it is shown.
        """
        self._done += 1
        if monotonic() >= self._due:
            self._show(loss)

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Prints the line of a finished epoch; see `epoch_line` for the record."""
        self._print(_epoch_text(record))

    def note(self, text: str) -> None:
        """Prints a line of its own above the bar."""
        self._print(styled(text))

    def _print(self, text: rich.text.Text) -> None:
        if self._console is None:
            return
        self._console.print(text, soft_wrap=True)
        if self._bar is None:
            self._due = monotonic() + SECONDS_BETWEEN_LINES

    def _show(self, loss: Any) -> None:
        value = float(loss() if callable(loss) else loss)
        now = monotonic()
        done = self._done - self.start_step
        rate = done / max(now - self._began, 1e-9)
        left = max(self.epochs * self.steps_per_epoch - self._done, 0) / rate
        before = self._done - 1
        # A slow first step (compilation, a cold cache) would promise hours.
        left_shown = f"  {figures.clock(left)} left" if now - self._began > 2 else ""
        place = f"epoch {_of(before // self.steps_per_epoch + 1, self.epochs)}"
        step = f"step {_of(before % self.steps_per_epoch + 1, self.steps_per_epoch)}"
        line = f"{step}  loss {figures.loss(value)}  {rate:.{0 if rate >= 10 else 1}f} steps/s{left_shown}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self._done, description=place, line=line)
            self._bar.refresh()
            self._due = monotonic() + SECONDS_BETWEEN_REDRAWS
        else:
            self._print(styled(f"{place}  {line}"))


def epoch_line(record: Mapping[str, Any]) -> str:
    """Returns the line of a finished epoch.

    `record`: {`epoch`, `epochs`, `train_loss`, `validation_loss`, `accuracy` (0 to 1) or `rmse`, `lr`,
    `seconds`, `best`}; what is missing or None is left out.

    >>> epoch_line({"epoch": 3, "epochs": 10, "train_loss": 0.1423, "validation_loss": 0.1311, "accuracy": 0.96122,
    ...             "lr": 0.001, "seconds": 4.21, "best": True})
    'epoch  3/10  loss 0.1423  val 0.1311  accuracy  96.12%  lr 1.0e-3   4.2 s  best'
    """
    return _epoch_text(record).plain


def _epoch_text(record: Mapping[str, Any]) -> rich.text.Text:
    text = styled(f"epoch {_of(record['epoch'], record.get('epochs') or record['epoch'])}")
    parts = [
        ("loss", "train_loss", lambda value: f"{figures.loss(value):>6}"),
        ("val", "validation_loss", lambda value: f"{figures.loss(value):>6}"),
        ("accuracy", "accuracy", lambda value: f"{figures.percent(value).replace(' ', ''):>7}"),
        ("rmse", "rmse", lambda value: f"{figures.loss(value):>6}"),
        ("perplexity", "perplexity", lambda value: f"{figures.loss(value):>6}"),
        ("bits/character", "bits_per_character", lambda value: f"{value:.4f}"),
        ("lr", "lr", lambda value: f"{figures.exponent(value):>6}"),
    ]
    for label, key, shown in parts:
        if record.get(key) is not None:
            text.append(f"  {label} ", "dim").append(shown(record[key]))
    if record.get("seconds") is not None:
        seconds = record["seconds"]
        text.append(f"  {figures.duration(seconds) if seconds < 59.5 else figures.clock(seconds):>6}", "dim")
    if record.get("best"):
        text.append("  best", "green")
    return text


def summary(result: Mapping[str, Any], *, stream: TextIO | None = None) -> None:
    """Prints the end of `fit` or `test`: the scores, where the run lies and what can be done with it.

    `result`: what `netwright fit --json` prints ({`run`, `test`, `epochs`, `steps`, `seconds`, `parameters`}),
    all of it optional. `test` is the dictionary of `netwright.metrics` with `loss` if there is one, or None
    for a run without scores. Also understood: `title`, `examples` (how many were tested), `interrupted`
    (bool), `calibration` as in result.json, `tested` (True for `netwright test`: the next step is then `predict`).
    `stream`: where to write; None is standard output. The text is the same with and without colour and at
    most 80 columns wide.
    """
    console = console_on(stream or sys.stdout)
    console.width = COLUMNS
    headline = _headline(result)
    if headline.plain:
        console.print()
        console.print(headline)
    test = result.get("test")
    if test:
        console.print()
        console.print(
            _scores(test, result.get("examples")).append(_doubt(result)).append(_worse(result)),
            soft_wrap=True,
        )
    if test and test.get("steps"):
        _print_forecasts(console, test)
    per_class = (test or {}).get("per_class")
    if per_class:
        console.print()
        _print_classes(console, per_class)
    if test and test.get("confusion"):
        _print_confusion(console, test["confusion"], [row["class"] for row in per_class or []])
    if result.get("run"):
        console.print()
        for label, value in _next(result):
            console.print(styled(f"  {label:<8}", "dim").append(value), soft_wrap=True)
    console.print()


def several(found: Mapping[str, Any], *, stream: Any = None) -> None:
    """Prints the scores of several runs of one recipe (`netwright.repeats.carry_out_often`): each, their mean and its interval."""
    console = console_on(stream or sys.stdout)
    console.width = COLUMNS
    names = list(found["test"])
    shown = {"accuracy": figures.percent}
    table = plain_table()
    for name in ("", *names):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for place, run in enumerate(found["runs"]):
        values = [found["test"][name]["values"][place] for name in names]
        table.add_row(
            Path(run).name, *(shown.get(name, figures.loss)(value) for name, value in zip(names, values))
        )
    means = [shown.get(name, figures.loss)(found["test"][name]["mean"]) for name in names]
    table.add_row(styled("mean", "bold"), *means)
    console.print()
    console.print(table)
    console.print()
    for name in names[:1]:
        interval = figures.interval(found["test"][name]["interval"], shares=name == "accuracy")
        console.print(styled(f"  95 % interval of the mean {name}: {interval}", "dim"))
    console.print(
        styled(f"  {len(found['runs'])} runs in {figures.duration(found['seconds'])}, in {found['run']}")
    )
    console.print()


def _headline(result: Mapping[str, Any]) -> rich.text.Text:
    parts = [figures.printable(result["title"])] if result.get("title") else []
    if result.get("parameters") is not None:
        parts.append(f"{result['parameters']:,} parameters")
    if result.get("epochs") is not None and result.get("seconds") is not None:
        plural = "" if result["epochs"] == 1 else "s"
        parts.append(f"{result['epochs']} epoch{plural} in {figures.duration(result['seconds'])}")
    text = styled("  " if parts else "").append(" · ".join(parts), "bold")
    if result.get("interrupted"):
        text.append("\n  Interrupted: the run is not finished, and can be resumed.", "yellow")
    return text


def _scores(test: Mapping[str, Any], examples: int | None) -> rich.text.Text:
    if "bits_per_character" in test:
        return _of_language(test)
    shares = "accuracy" in test
    name = "accuracy" if shares else "rmse"
    value = figures.percent(test["accuracy"]) if shares else figures.loss(test["rmse"])
    text = styled(f"  {name:<8}  ").append(value, "bold green")
    if test.get("interval"):
        text.append(f"   95 % interval {figures.interval(test['interval'], shares=shares)}", "dim")
    text.append(_two_classes(test.get("two_classes")))
    others = [(label, test.get(key)) for key, label in (("mae", "mae"), ("r2", "R²"), ("loss", "loss"))]
    for label, number in others:
        if number is not None:
            text.append(f"\n  {label:<8}  {figures.loss(number)}")
    if examples is not None:
        text.append(f"\n  tested on {examples:,} examples", "dim")
    return text


def _doubt(result: Mapping[str, Any]) -> rich.text.Text:
    """Returns how far the probabilities are off, and how much of the test part the guard flags."""
    text = styled("")
    found, flagged = result.get("calibration") or {}, (result.get("test") or {}).get("unlike_training")
    if found.get("ece_after") is not None:
        before = f" ({figures.percent(found['ece_before'])} before temperature {found['temperature']:.3g})"
        error = figures.percent(found["ece_after"])
        text.append(f"\n  calibration error {error}{'' if found.get('reason') else before}")
    if flagged is not None:
        text.append(f"\n  unlike the training data: {figures.percent(flagged)} of what was tested")
    return text


def _worse(result: Mapping[str, Any]) -> rich.text.Text:
    """Returns the line that names a part of the test set that is worse than the rest."""
    text = styled("")
    for line in summary_lines(result.get("slices")):
        text.append(f"\n  {line}", "yellow")
    return text


def _print_forecasts(console: rich.console.Console, test: Mapping[str, Any]) -> None:
    """Prints how the error grows with the rows ahead, and the plain forecasts beside the network's, on the same windows."""
    import rich.padding

    squares = test["steps"]["scaled_mse"]
    ahead = sorted({0, *(round(len(squares) * share / 4) - 1 for share in (1, 2, 3, 4))} - {-1})
    table = plain_table()
    table.add_column("", no_wrap=True)
    for name in ("mse", "mae"):
        table.add_column(name, justify="right", no_wrap=True)
    for place in ahead:
        table.add_column(f"row {place + 1}", justify="right", no_wrap=True)
    rows = {"this network": {**test, "steps": squares}, **(test.get("beside") or {})}
    for name, row in rows.items():
        steps = ["" if row["steps"][place] is None else figures.loss(row["steps"][place]) for place in ahead]
        style = "bold" if name == "this network" else ""
        scores = [figures.loss(row[key]) for key in ("scaled_mse", "scaled_mae")]
        table.add_row(*(styled(cell, style) for cell in (name, *scores, *steps)))
    console.print()
    console.print(styled("  Scaled errors: over all rows ahead, and the mse of some", "dim"))
    console.print(rich.padding.Padding(table, (0, 0, 0, 2), expand=False))
    if test.get("skill") is None:
        return
    share = figures.percent(abs(test["skill"]))
    said = f"{share} less squared error than the best forecast without any training"
    if test["skill"] <= 0:
        said = f"No better than a forecast without any training: {share} more squared error"
    console.print(styled(f"  {said}.", "" if test["skill"] > 0 else "yellow"), soft_wrap=True)
    if test["beside"].get("linear", {}).get("scaled_mse", test["scaled_mse"]) < test["scaled_mse"]:
        console.print(styled("  The linear forecast, which is solved in a moment, errs less.", "yellow"))


def _of_language(test: Mapping[str, Any]) -> rich.text.Text:
    text = styled("  bits per character  ").append(f"{test['bits_per_character']:.4f}", "bold green")
    text.append(f"\n  perplexity          {figures.loss(test['perplexity'])} a token")
    text.append(f"\n  next token right    {figures.percent(test['accuracy'])}")
    return text.append(f"\n  loss                {figures.loss(test['loss'])}")


def _two_classes(scores: Mapping[str, Any] | None) -> rich.text.Text:
    """Returns how well the class that is looked for is ranked, and what comes of the threshold chosen in validation."""
    text = styled("")
    if not scores or scores.get("roc_auc") is None:
        return text
    name = figures.printable(scores["class"])
    text.append(f"\n  class {name} ({figures.percent(scores['share'])} of the examples)")
    text.append(f"\n  ROC AUC   {scores['roc_auc']:.4f}   PR AUC {scores['average_precision']:.4f}")
    found = [
        f"{figures.percent(at['sensitivity'])} at specificity {at['specificity'] * 100:.0f} %"
        for at in scores.get("at_specificity", ())
    ]
    if found:
        text.append(f"\n  sensitivity {', '.join(found)}")
    at = scores.get("at_threshold")
    if at:
        shown = "  ".join(f"{key} {figures.percent(at[key])}" for key in ("precision", "recall", "f1"))
        text.append(f"\n  taken from probability {at['threshold']:.3g} on (best F1 in validation):")
        text.append(f"\n            {shown.replace('f1', 'F1')}")
    return text


def _print_classes(console: rich.console.Console, per_class: Sequence[Mapping[str, Any]]) -> None:
    import rich.padding

    rows = list(per_class)
    if len(rows) > ROWS_AT_MOST:
        # A class that cannot be judged comes last: it is not the worst, it is unknown.
        rows.sort(key=lambda row: (row["f1"] is None, row["f1"] or 0.0))
        console.print(styled(f"  The {ROWS_AT_MOST} of {len(rows)} classes with the lowest F1", "dim"))
    table = plain_table()
    table.add_column("class", no_wrap=True, overflow="ellipsis", max_width=36)
    for name in ("precision %", "recall %", "F1 %", "support"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows[:ROWS_AT_MOST]:
        scores = [figures.percent(row[key]).removesuffix(" %") for key in ("precision", "recall", "f1")]
        table.add_row(styled(row["class"]), *scores, f"{row['support']:,}")
    console.print(rich.padding.Padding(table, (0, 0, 0, 2), expand=False))


def _print_confusion(
    console: rich.console.Console, confusion: Sequence[Sequence[int]], names: Sequence[str]
) -> None:
    import rich.padding

    if not 2 <= len(confusion) <= MATRIX_AT_MOST:
        return
    numbers = [str(column) for column in range(len(confusion))]
    labels = [figures.printable(name) for name in names] if len(names) == len(confusion) else numbers
    short = all(len(label) <= 4 for label in labels)
    widest = max(len(f"{count:,}") for row in confusion for count in row)
    # 2 for the indent, 14 for the class: a wider matrix is left to the report.
    if 16 + len(confusion) * (max(widest, 4) + 1) > COLUMNS:
        return
    table = plain_table(pad=2 if 16 + len(confusion) * (max(widest, 4) + 2) <= COLUMNS else 1)
    table.add_column("true", no_wrap=True, overflow="ellipsis", max_width=14)
    for number, label in zip(numbers, labels):
        table.add_column(styled(label if short else number), justify="right", no_wrap=True)
    for index, row in enumerate(confusion):
        cells = [
            styled(f"{count:,}" if count else "·", "green" if column == index else "red" if count else "dim")
            for column, count in enumerate(row)
        ]
        table.add_row(styled(labels[index] if short else f"{index} {labels[index]}"), *cells)
    console.print()
    console.print(styled("  Confusion: a row is the true class, a column what was predicted", "dim"))
    console.print(rich.padding.Padding(table, (0, 0, 0, 2), expand=False))


def _next(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    run = figures.printable(result["run"])
    quoted = shlex.quote(run)
    rows = [("run", run)]
    if result.get("report"):
        rows.append(("report", figures.printable(result["report"])))
    if result.get("interrupted"):
        rows.append(("next", f"netwright resume {quoted}"))
    elif "bits_per_character" in (result.get("test") or {}):
        rows.append(("next", f"netwright write {quoted} --prompt TEXT"))
    elif result.get("tested"):
        rows.append(("next", f"netwright predict {quoted} FILE"))
    else:
        rows.append(("next", f"netwright test {quoted}  ·  netwright predict {quoted} FILE"))
    return rows


def plain_table(pad: int = 2) -> Any:
    import rich.table

    return rich.table.Table(box=None, padding=(0, 0, 0, pad), header_style="dim", pad_edge=False)


def styled(text: object, style: str = "") -> rich.text.Text:
    import rich.text

    return rich.text.Text(figures.printable(text), style=style)


def _of(number: int, total: int) -> str:
    return f"{number:>{len(str(total))}}/{total}"


def console_on(stream: TextIO) -> rich.console.Console:
    import rich.console

    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        # A class name that the terminal's encoding lacks must not end a finished run with a traceback.
        stream.reconfigure(errors="replace")
    return rich.console.Console(file=stream, highlight=False, emoji=False, markup=False)


def _can_redraw(console: rich.console.Console) -> bool:
    # FORCE_COLOR makes rich call a file a terminal: colours may go there, a bar may not.
    return console.is_terminal and not console.is_dumb_terminal and console.file.isatty()


def _bar(console: rich.console.Console) -> rich.progress.Progress:
    import rich.progress

    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}", markup=False),
        rich.progress.BarColumn(bar_width=None),
        rich.progress.TextColumn("{task.fields[line]}", markup=False),
        console=console,
        auto_refresh=False,
        transient=True,
        expand=True,
        # Standard output keeps what is printed there: it may be piped.
        redirect_stdout=False,
    )
