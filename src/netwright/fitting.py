"""From data and a network to a tested, saved run: the rooms below, in the order in which things happen."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netwright.architectures import count_parameters, weights_sha256
from netwright.architectures import network as build_network
from netwright.doubt import Calibration, Guarding, guarded
from netwright.errors import CheckpointError, FaultFound, NetworkError, RecipeError, TrainingFailed
from netwright.examine import Examination
from netwright.examine import examine as examination
from netwright.explain.diagram import diagram_of
from netwright.forecasting import with_plain_forecasts
from netwright.inventory import inventory
from netwright.loggers import Loggers, check_loggers
from netwright.metrics import best_threshold
from netwright.metrics.probabilities import tempered
from netwright.outcome import report_of, shown, suspicious
from netwright.preflight import Preflight, preflight
from netwright.recipe import Recipe
from netwright.records import Log, Saving, check_finite, cut_metrics
from netwright.report.html import write_report
from netwright.report.terminal import Progress
from netwright.run import Decision, Run, load_data, looked_for, score
from netwright.run_files import (
    CHECKPOINTS,
    FINDINGS,
    FROM_PYTHON,
    GUARD,
    METRICS,
    PRETRAINED,
    REPORT,
    RESULT,
    WEIGHTS,
)
from netwright.run_folder import (
    as_safetensors,
    check_folder_is_shared,
    create_once,
    folder_to_go_on_in,
    write_json,
)
from netwright.slicing import sliced
from netwright.spending import energy_measured, memory_used
from netwright.training.allocation import give_back, memory_kept
from netwright.training.checkpoints import (
    clear_unfinished,
    newest_checkpoint,
    newest_intact,
    write_bytes,
)
from netwright.training.distributed import (
    ALONE,
    Agreement,
    Processes,
    agreed,
    first_of_each_machine_first,
    joined,
    part_of_the_batch,
    take_from_first,
    wait_for_all,
    whole_weights,
)
from netwright.training.evaluation import evaluate, evaluation_mode, outputs_of
from netwright.training.features import FeatureSplit, features_of, fits_in_memory, head_input
from netwright.training.layer_health import Activations, layers_of
from netwright.training.layer_health import watched as layers_watched
from netwright.training.loop import Step, begin, steps_in_epoch, train
from netwright.training.losses import match_targets, to_probabilities
from netwright.training.precision import choose_device, choose_precision
from netwright.training.randomness import seed_everything
from netwright.training.signals import StopRequest, held_signals
from netwright.training.state import TrainingState
from netwright.training.stopping import EarlyStopping
from netwright.transfer import Begun, Origin, begin_from, freezing_of, open_origin, preparation_for

if TYPE_CHECKING:
    from netwright.data import Data

# Takes the record of an epoch, as metrics.jsonl has it.
OnEpoch = Callable[[dict[str, Any]], None]


def fit(
    network: str | nn.Module | None = None,
    data: Any = "digits",
    *,
    out: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    examine: bool = True,
    force: bool = False,
    recipe: dict[str, Any] | None = None,
    optimizer: str | None = None,
    loss: str | None = None,
    lr: float | str | None = None,
    schedule: str | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    seed: int | None = None,
    precision: str | None = None,
    device: str | None = None,
    **network_options: Any,
) -> Run:
    """Trains a network on data, keeps the best weights, tests them, and returns the run.

    Args:
        network: a module of yours, `file.py:Name`, or a registered name with its options as further arguments;
            None takes the one that goes with a named data set or with texts, else an mlp.
        data: what `netwright.load` returned, or what it takes.
        out: the run's folder (default: a new one under `runs/`). resume: go on there if it was interrupted.
        examine: look for faults, in a trial of a few seconds before and while it trains. force: train even if
            the trial finds an error.
        recipe: any further entries, dotted or nested, e.g. `{"early_stopping.patience": 3}`.

    Raises:
        NetwrightError: a name, an option or the data cannot be; TrainingFailed: the loss is no longer a number,
            or the disk is full.
    """
    named = {
        "network.name": FROM_PYTHON if isinstance(network, nn.Module) else network,
        "data.source": data
        if isinstance(data, str)
        else str(data)
        if isinstance(data, Path)
        else FROM_PYTHON,
        "optimizer.name": optimizer,
        "optimizer.lr": lr,
        "loss.name": loss,
        "schedule.name": schedule,
        "train.epochs": epochs,
        "data.batch": batch,
        "train.seed": seed,
        "train.precision": precision,
        "train.device": device,
        **{f"network.{name}": value for name, value in network_options.items()},
    }
    chosen = Recipe.build(
        recipe or {},
        {key: value for key, value in named.items() if value is not None},
        kind=None if isinstance(network, nn.Module) else _kind_in_memory(data),
    )
    if chosen.data.source == FROM_PYTHON:
        from netwright.data import Data, load

        if chosen.transfer.source is not None and (isinstance(data, Data) or isinstance(network, nn.Module)):
            raise RecipeError(
                "transfer.source brings its network and prepares the data as in its own training: give the data as netwright.load "
                "takes it, not loaded, and no module"
            )
        if not isinstance(data, Data):
            entries = chosen.data.model_dump(exclude={"source", "batch"})
            entries |= {
                "table": chosen.table.model_dump(exclude_defaults=True),
                "text": chosen.text.model_dump(),
                "sound": chosen.sound.model_dump(exclude_defaults=True),
                "series": chosen.series.model_dump(exclude_defaults=True),
            }
            if chosen.transfer.source is not None:
                prepared = preparation_for(open_origin(chosen.transfer.source), chosen)
                entries |= {} if prepared is None else {"preparation": prepared, "size": None}
            data = load(data, seed=chosen.train.seed, **entries)
    return carry_out(
        chosen,
        module=network if isinstance(network, nn.Module) else None,
        data=data if chosen.data.source == FROM_PYTHON else None,
        out=out,
        resume=resume,
        quiet=quiet,
        examine=examine,
        force=force,
    )


def _kind_in_memory(data: Any) -> str | None:
    """Says whether a loaded set is of texts, which want another network than an mlp."""
    kind = getattr(getattr(data, "preparation", None), "kind", None)
    if kind == "series":
        return "windows" if data.preparation.horizon is None else "series"
    return kind if kind in ("text", "corpus") else None


def carry_out(
    recipe: Recipe,
    *,
    module: nn.Module | None = None,
    data: Data | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    examine: bool = True,
    force: bool = False,
    on_epoch: OnEpoch | None = None,
    report: bool = True,
) -> Run:
    """Carries out a recipe in a new folder (or goes on in `out` where `resume` allows it).

    `on_epoch` is called with the record of each epoch, once it is saved; what it raises ends the run, which can be gone on with.
    Without `report` no report.html is written, which takes longer than a small network's training.

    Under `torchrun` every process calls this alike; they train together, and the first of them alone writes and
    speaks. A process that is started again after one failed goes on in the folder that was begun.
    """
    check_loggers(recipe)
    processes = Processes.here()
    processes.check_batch(recipe.data.batch)
    with joined(processes):
        quiet = quiet or not processes.first
        folder = agreed(folder_to_go_on_in(recipe, out, resume=resume), processes)
        if folder is not None:
            begun = Run(folder, network=module, data=data)
            _check_same(recipe, begun)
            return carry_on(begun, quiet=quiet, examine=examine, on_epoch=on_epoch, report=report)
        origin = None if recipe.transfer.source is None else open_origin(recipe.transfer.source)
        if data is None:
            kept = None if origin is None else preparation_for(origin, recipe)
            data = first_of_each_machine_first(lambda: load_data(recipe, preparation=kept), processes)
            stream = agreed(data.reading.options.get("stream"), processes)
            if data.reading.options.get("stream") != stream:  # less memory was free elsewhere
                recipe = _with_stream(recipe, stream)
                data = load_data(recipe, preparation=kept)
        data = _augmented(recipe, data)
        _check_decision(recipe, data)
        _introduce(data, quiet)
        known, trained = None, module
        if processes.first:
            recipe, trained, data = _decided(recipe, data, module, origin, quiet=quiet)
            known = _look_first(recipe, trained, data, quiet=quiet, force=force) if examine else None
        recipe = agreed(recipe, processes)
        if not processes.first:
            seed_everything(recipe.train.seed)
            trained = _build(recipe, data, module, origin).network
        assert trained is not None
        parameters = count_parameters(trained)
        state = _begin(recipe, trained, data, processes)
        state.seed_apart()
        first = trained if origin is not None else None
        run = create_once(recipe, data, out=out, module=module, begun=first, processes=processes)
        learning = _count_learning(state)
        _say(f"{parameters:,} parameters{learning}, trained on {_place(state)} in {run.path}", quiet)
        note = part_of_the_batch(trained, recipe.data.batch, processes)
        if note is not None:
            _say(note, quiet)
        give_back(state.device)
        with memory_kept(state.device):
            return _train_and_test(
                run, state, data, quiet=quiet, examine=examine, known=known, on_epoch=on_epoch, report=report
            )


def check_recipe(recipe: Recipe, data: Data) -> None:
    """Raises the error with which `carry_out` would end before its first step: builds all, and computes the loss of two examples.

    A network that begins from another one's weights is not opened.
    """
    _check_decision(recipe, data)
    if recipe.transfer.source is not None:
        return
    optimizer = (
        recipe.optimizer
        if recipe.optimizer.lr != "find"
        else recipe.optimizer.model_copy(update={"lr": None})
    )
    seed_everything(recipe.train.seed)
    module = _build(recipe, data, None).network
    precision = _with_chosen_precision(recipe, quiet=True).train.precision
    train_recipe = recipe.train.model_copy(update={"precision": precision})
    state = _begin(recipe.model_copy(update={"optimizer": optimizer, "train": train_recipe}), module, data)
    inputs, targets = (one.to(state.device) for one in data.train.prepared(slice(0, 2)))
    with torch.no_grad():
        outputs = state.network(inputs)
        state.loss(outputs, match_targets(targets, state.loss, outputs))


def _count_learning(state: TrainingState) -> str:
    """Says how many of a network's parameters learn in the first epoch, where not all do."""
    if state.freezing is None:
        return ""
    learning = sum(one.numel() for one in state.network.parameters() if one.requires_grad)
    return f", of which {learning:,} learn{' at first' if state.freezing.changes else ''}"


def _decided(
    recipe: Recipe, data: Data, module: nn.Module | None, origin: Origin | None, *, quiet: bool
) -> tuple[Recipe, nn.Module, Data]:
    """Returns the recipe with what `auto` and `find` mean here, the network, and the data with what was decided about it."""
    recipe = _with_stream(recipe, data.reading.options.get("stream"))
    recipe = _with_chosen_precision(recipe, quiet=quiet)
    seed_everything(recipe.train.seed)
    begun = _build(recipe, data, module, origin)
    if origin is not None:
        recipe = recipe.model_copy(update={"transfer": recipe.transfer.model_copy(update=begun.settled)})
        _say("\n".join(f"  {note}" for note in begun.notes), quiet)
        data = dataclasses.replace(data, notes=(*data.notes, *begun.notes))
    if recipe.optimizer.lr == "find":
        recipe = _with_found_rate(recipe, begun.network, data, quiet=quiet)
        seed_everything(recipe.train.seed)
        begun = _build(recipe, data, module, origin)
    return recipe, begun.network, data


def _place(state: TrainingState) -> str:
    """Where it is trained, for people."""
    if state.processes.alone:
        return str(state.device)
    how = "which share its weights" if state.parallel is None else "which share the batch"
    return f"{state.device.type} by {state.processes.world} processes {how}"


def _augmented(recipe: Recipe, data: Data) -> Data:
    return data.with_augmentation(recipe.augment.model_dump(exclude_defaults=True))


def _introduce(data: Data, quiet: bool) -> None:
    """Says what was read and decided; what was left out is said even to those who want quiet."""
    _say("\n".join([data.describe(), *(f"  {note}" for note in data.notes)]), quiet)
    left_out = data.reading.options.get("unreadable", ())
    if quiet and left_out:
        print(f"{len(left_out):,} unreadable files are left out: {', '.join(left_out[:3])}", file=sys.stderr)


def _check_same(recipe: Recipe, begun: Run) -> None:
    """Raises RecipeError unless `recipe` is the one that the run was begun with, but for how paths are written."""
    asked, kept = (_entries(one) for one in (recipe, begun.recipe))
    if recipe.optimizer.lr == "find":
        kept["optimizer.lr"] = "find"
    if recipe.train.precision == "auto":
        kept["train.precision"] = "auto"
    if recipe.data.stream == "auto":
        kept["data.stream"] = "auto"
    if recipe.transfer.source is not None:  # what was found and settled where nothing was said
        kept |= {f"transfer.{name}": asked[f"transfer.{name}"] for name in _left_open(recipe)}
    different = [name for name in {**asked, **kept} if asked.get(name) != kept.get(name)]
    if different:
        shown = ", ".join(f"{name} was {kept.get(name)}, now {asked.get(name)}" for name in different[:3])
        raise RecipeError(
            f"the run in {begun.path} was begun with another recipe: {shown}.\n"
            f"Go on as it was with: netwright resume {begun.path}; or give another --out."
        )


def _left_open(recipe: Recipe) -> list[str]:
    asked = recipe.transfer
    nothing_said = {
        "head": asked.head is None,
        "freeze": asked.freeze == "auto",
        "keep_head": not asked.keep_head,
        "backbone_lr": asked.backbone_lr is None,
    }
    return [name for name, is_open in nothing_said.items() if is_open]


def _entries(recipe: Recipe) -> dict[str, Any]:
    flat = {
        f"{section}.{entry}": value
        for section, entries in recipe.model_dump().items()
        for entry, value in entries.items()
    }
    for name in (
        "data.source",
        "network.name",
        "transfer.source",
    ):  # paths are kept absolute, or beside the recipe
        flat[name] = Path(str(flat[name])).name
    return flat


def _look_first(recipe: Recipe, module: nn.Module, data: Data, *, quiet: bool, force: bool) -> Preflight:
    """Tries one batch under the examiner; an error stops the run before it wastes time, unless `force`."""
    seen = preflight(
        lambda copy: _begin(recipe, copy, data),
        module,
        data,
        batch=recipe.data.batch,
        precision=recipe.train.precision,
        clip=recipe.train.clip,
        run_steps=recipe.train.epochs * steps_in_epoch(data.train, batch=recipe.data.batch, accumulate=1),
    )
    _say("\n".join(f"  {line}" for line in seen.lines()), quiet)
    if seen.errors and not force:
        said = "\n".join(f"{finding.code} {finding.title}" for finding in seen.errors[:3])
        raise FaultFound(
            f"{said}\n{seen.errors[0].fix}\nStopped before training; --force trains all the same.",
            findings=[finding.to_dict() for finding in seen.examination.findings],
        )
    return seen


def carry_on(
    run: Run,
    *,
    quiet: bool = False,
    examine: bool = True,
    on_epoch: OnEpoch | None = None,
    report: bool = True,
) -> Run:
    """Goes on with an interrupted run from its newest intact checkpoint, to the same weights; see `carry_out`."""
    check_loggers(run.recipe)
    processes = Processes.here()
    processes.check_batch(run.recipe.data.batch)
    with joined(processes):
        if agreed(run.finished, processes):
            return run
        quiet = quiet or not processes.first
        check_folder_is_shared(run.path, processes)
        if processes.first:
            clear_unfinished(run.path)
            clear_unfinished(run.path / CHECKPOINTS)
        saved = _newest(run, processes)
        _use_threads_of(run, processes)
        recipe = run.recipe
        data = _augmented(recipe, first_of_each_machine_first(lambda: run.data, processes))
        seed_everything(recipe.train.seed)
        state = _begin(recipe, _as_begun(run, needed=saved is None), data, processes)
        try:
            _restore(state, saved, quiet=quiet)
        except CheckpointError as error:
            raise CheckpointError(f"the checkpoint in {run.path / CHECKPOINTS}: {error}") from None
        if processes.first:
            cut_metrics(run.path / METRICS, int(state.notes.get("metrics_bytes", 0)))
        with memory_kept(state.device):
            return _train_and_test(
                run, state, data, quiet=quiet, examine=examine, on_epoch=on_epoch, report=report
            )


def _as_begun(run: Run, *, needed: bool) -> nn.Module:
    """Returns the network as it was before its first step; of a transfer the weights are read only where they are `needed`."""
    module = run.untrained_network()
    if run.recipe.transfer.source is not None:
        if needed:
            run.load_weights(module, PRETRAINED)
        seed_everything(run.recipe.train.seed)
    return module


def _newest(run: Run, processes: Processes) -> dict[str, Any] | Path | None:
    """Returns the newest intact checkpoint, read if there is one process, which several choose alike; says what is not."""
    saved: dict[str, Any] | Path | None = None
    damaged: list[str] = []
    if processes.alone:
        saved, damaged = newest_checkpoint(run.path / CHECKPOINTS)
    elif processes.first:
        saved, damaged = newest_intact(run.path / CHECKPOINTS)
    for message in damaged:
        print(f"{message}; the one before it is used", file=sys.stderr)
    if saved is None and damaged:
        raise CheckpointError(f"no checkpoint of {run.path} is intact: start the run anew with netwright fit")
    return saved if processes.alone else agreed(saved, processes)


def _restore(state: TrainingState, saved: dict[str, Any] | Path | None, *, quiet: bool) -> None:
    if isinstance(saved, dict):
        state.load_state_dict(saved)
    elif saved is not None:
        from netwright.training.shared_checkpoints import restore

        before, now = restore(saved, state), state.processes.world
        if before < now:
            _say(f"{now} processes go on with a run of {before}: the others draw new random numbers", quiet)
    else:
        state.seed_apart()


def _train_and_test(
    run: Run,
    state: TrainingState,
    data: Data,
    *,
    quiet: bool,
    examine: bool,
    known: Preflight | None = None,
    on_epoch: OnEpoch | None = None,
    report: bool = True,
) -> Run:
    recipe, before = run.recipe, state.steps
    data = _with_measured_reading(recipe, state, data, quiet=quiet)
    per_epoch = steps_in_epoch(data.train, batch=recipe.data.batch, accumulate=recipe.train.accumulate)
    progress = Progress(
        epochs=recipe.train.epochs, steps_per_epoch=per_epoch, start_step=state.steps, quiet=quiet
    )
    loggers = Loggers.of(run.path, recipe, done=before, first=state.processes.first)
    found: Examination | None = None
    watched = examination() if examine and _can_be_watched(state, quiet=quiet) else contextlib.nullcontext()
    try:
        with (
            held_signals() as stop,
            progress,
            Log(run.path / METRICS, state, loggers) as log,
            watched as found,
            energy_measured(asked=recipe.log.energy and state.processes.first) as energy,
        ):
            seen = _as_the_head_sees_it(recipe, state, data, quiet=quiet)
            _train(run, state, seen, log=log, progress=progress, stop=stop, on_epoch=on_epoch)
            seconds, validating = log.seconds, log.validating
    except TrainingFailed as error:
        raise _with_its_cause(run, error, found) from error
    cost = {"validating": round(validating, 3), **({"energy": energy} if energy else {})}
    findings = _all_findings(found, known, before)
    _finish(run, state, data, seconds=seconds, findings=findings, cost=cost, quiet=quiet, report=report)
    loggers.finish(run.result or {})
    return run


def _as_the_head_sees_it(recipe: Recipe, state: TrainingState, data: Data, *, quiet: bool) -> Data:
    """Returns the data with the features that a frozen backbone gives, computed once, and lets steps call the head alone.

    Only where each epoch would compute the same: nothing but the head learns, and no example is changed or drawn anew.
    """
    from netwright.data import DatasetSplit

    freezing = state.freezing
    fixed = freezing is not None and freezing.freeze == "backbone" and freezing.head is not None
    changed = data.train.augmentation is not None or bool(data.train.mixing)
    drawn = changed or isinstance(data.train, DatasetSplit)
    if not fixed or drawn or not recipe.transfer.features_once or not state.processes.alone:
        return data
    assert freezing is not None and freezing.head is not None
    head = state.network.get_submodule(freezing.head)
    example = head_input(state.network, head, data.example)
    count = len(data.train) + len(data.validation)
    if example is None or not fits_in_memory(example, count):
        return data
    began = time.perf_counter()
    precision = recipe.train.precision
    train = features_of(state.network, head, data.train, precision=precision)
    held = (
        features_of(state.network, head, data.validation, precision=precision)
        if len(data.validation)
        else data.validation
    )
    state.parallel = head
    width = " x ".join(map(str, example.shape[1:]))
    _say(
        f"what the frozen layers give for {count:,} examples ({width} numbers each) is computed once, in "
        f"{time.perf_counter() - began:.1f} s (transfer.features_once)",
        quiet,
    )
    return dataclasses.replace(data, train=train, validation=held)  # type: ignore[arg-type]


def _can_be_watched(state: TrainingState, *, quiet: bool) -> bool:
    """Whether to examine the training here: in one process, because all of them compute alike."""
    if not state.processes.alone and state.parallel is None:
        # FSDP2 frees the memory of tensors that the examiner still looks at.
        _say("not examined while it trains: the weights are divided among the processes", quiet)
        return False
    return state.processes.first


def _train(
    run: Run,
    state: TrainingState,
    data: Data,
    *,
    log: Log,
    progress: Progress,
    stop: StopRequest,
    on_epoch: OnEpoch | None,
) -> None:
    """Takes the steps: shows, logs, validates, saves, and stops where it is asked to."""
    recipe = run.recipe
    steps = train(
        state.network,
        data.train,
        state=state,
        epochs=recipe.train.epochs,
        batch=recipe.data.batch,
        accumulate=recipe.train.accumulate,
        clip=recipe.train.clip,
        precision=recipe.train.precision,
    )
    agreement, alone, every_steps = (
        Agreement(state.processes),
        state.processes.alone,
        recipe.checkpoint.every_steps,
    )
    with Saving(run, state, log) as saving:
        for step in steps if not state.stopping.should_stop else ():
            progress.advance(step.loss)
            if step.number % recipe.log.every_steps == 0:
                log.step(step)
            record = _end_epoch(run, step, data, log) if step.ends_epoch else None
            if record is not None:
                progress.epoch(shown(record))
            late, number = saving.late(), stop.signal or 0
            if not alone:
                late, number = agreement(save=late, stop=number)
            if step.ends_epoch or late or number or (every_steps and step.number % every_steps == 0):
                saving.save()
            if number:
                saving.finish()
                said = f"stopped after step {step.number} and saved; go on with: netwright resume {run.path}"
                _say(f"\n{said}", progress.quiet)
                stop.signal = signal.Signals(number)
                stop.obey()
            if record is not None and on_epoch is not None:
                on_epoch(record)
            if step.ends_epoch and state.stopping.should_stop:
                break


def _with_its_cause(run: Run, error: TrainingFailed, found: Examination | None) -> TrainingFailed:
    """Returns the error with the first fault that the examiner saw, and keeps all of them in the run's folder."""
    if found is None or not found.findings:
        return error
    with contextlib.suppress(TrainingFailed):  # the disk may be what failed
        write_json(run.path / FINDINGS, found.to_dict())
    first = found.findings[0]
    return TrainingFailed(f"{error}\n{first.code} {first.title}")


def _all_findings(found: Examination | None, known: Preflight | None, before: int) -> dict[str, Any] | None:
    """Returns the examiner's JSON of the run with what the trial before it had found; None if nobody looked.

    `before`: the steps that an earlier process has taken, from which on the examiner counted.
    """
    if found is None:
        return None
    content = found.to_dict()
    content["findings"] = [{**one, "step": one["step"] + before} for one in content["findings"]]
    if known is not None:
        seen = {finding["code"] for finding in content["findings"]}
        earlier = [finding.to_dict() for finding in known.examination.findings if finding.code not in seen]
        content["findings"] = [*earlier, *content["findings"]]
    return content


def _end_epoch(run: Run, step: Step, data: Data, log: Log) -> dict[str, Any]:
    """Validates, steps a schedule that waits for a score, keeps the best weights; returns the epoch's record."""
    state, recipe = step.state, run.recipe
    scores: dict[str, float] = {"train_loss": float(state.epoch_loss)}
    check_finite(scores["train_loss"], f"in epoch {step.epoch}", state)
    seen = Activations()
    if len(data.validation):
        # Each process has counted its own part of the batches; those of the first are kept.
        take_from_first(list(state.network.buffers()), state.processes)
        called = _called_on(data.validation, state)
        watched = layers_watched(called) if called is state.network else contextlib.nullcontext(seen)
        began = time.perf_counter()
        with averaged(state), watched as seen:
            found = evaluate(
                called,
                data.validation,
                state.loss,
                precision=recipe.train.precision,
                processes=state.processes,
            )
        log.validating += time.perf_counter() - began
        scores |= {f"validation_{name}": value for name, value in found.items()}
    monitored = scores.get(state.stopping.monitor, scores["train_loss"])
    scheduler: Any = state.schedule.scheduler
    if scheduler is not None and state.schedule.needs_score:
        scheduler.step(monitored)
    best = state.stopping.improved(monitored, step.epoch)
    if best and recipe.checkpoint.keep == "best":
        _write_weights(run, state)
    record: dict[str, Any] = {
        "epoch": step.epoch,
        "epochs": recipe.train.epochs,
        "step": step.number,
        **scores,
    }
    record |= {"lr": state.optimizer.param_groups[0]["lr"], "best": best}
    if state.processes.alone:  # several processes hold parts of the gradient, or of the weights
        record["layers"] = layers_of(state, seen)
    return log.epoch(record)


def _called_on(part: Any, state: TrainingState) -> nn.Module:
    """Returns what is called on a part of the data: the network, or its head on features."""
    if isinstance(part, FeatureSplit):
        assert state.parallel is not None
        return state.parallel
    return state.network


def _finish(
    run: Run,
    state: TrainingState,
    data: Data,
    *,
    seconds: float,
    findings: dict[str, Any] | None,
    cost: dict[str, Any],
    quiet: bool,
    report: bool,
) -> None:
    """Tests the weights that are kept, and writes what a finished run has."""
    processes = state.processes
    with averaged(state):
        weights = whole_weights(state.network)
        digest = weights_sha256(weights) if processes.first else ""
    if agreed(run.recipe.checkpoint.keep == "last" or not (run.path / WEIGHTS).exists(), processes):
        _write_weights(run, state)
    wait_for_all(processes)
    run.load_weights(state.network)
    give_back(state.device)
    held = _held_out(run.recipe, state, data)
    calibration = Calibration.fitted(held, learned=run.recipe.data.overfit is not None)
    decision = _decision(run.recipe, data, held, calibration)
    scores, answers, targets = _scored(
        state,
        data,
        decision=decision,
        temperature=calibration.temperature,
        precision=run.recipe.train.precision,
    )
    result: dict[str, Any] = {
        "run": str(run.path),
        "test": scores,
        "epochs": state.epoch,
        "steps": state.steps,
        "seconds": round(seconds, 3),
        "parameters": count_parameters(state.network),
        "weights_sha256": digest,
        "findings": [] if findings is None else findings["findings"],
        **cost,
        "memory": memory_used(state.device, run.path / WEIGHTS),
        "examples_per_second": round(state.epoch * len(data.train) / max(seconds, 1e-9), 1),
    }
    if decision is not None and data.classes is not None:
        result["threshold"] = {"class": data.classes[decision.positive], "best_f1": decision.best}
    tested = None if data.classes is None or answers is None or targets is None else (answers, targets)
    if data.classes is not None:
        result["calibration"] = calibration.entries(tested)
        if tested is not None:
            answers = tempered(tested[0], calibration.temperature)
    if processes.first:
        give_back(state.device)
        result["guard"] = _write_guard(run, state, data, quiet=quiet)
        give_back(state.device)
        if scores is not None and "flagged" in result["guard"]:
            scores["unlike_training"] = result["guard"]["flagged"]
        _write_result(
            run,
            state,
            data,
            result,
            findings=findings,
            answers=answers,
            targets=targets,
            held=held,
            decision=decision,
            calibration=calibration,
            tested=tested,
            report=report,
        )
    wait_for_all(processes)


def _scored(
    state: TrainingState, data: Data, *, decision: Decision | None, temperature: float, precision: str
) -> tuple[dict[str, Any] | None, Tensor | None, Tensor | None]:
    """Returns the test part's scores and what they were computed from, as `run.score` does; all None without a test part."""
    if not len(data.test):
        return None, None, None
    scores, answers, targets = score(
        state.network,
        data.test,
        state.loss,
        classes=data.classes,
        decision=decision,
        temperature=temperature,
        precision=precision,
        processes=state.processes,
    )
    if getattr(data.test, "horizon", None):
        scores = with_plain_forecasts(scores, data.train, data.test)
    return scores, answers, targets


def _check_decision(recipe: Recipe, data: Data) -> None:
    asked = recipe.decision.model_dump(exclude_none=True)
    if not asked:
        return
    if data.classes is None or len(data.classes) != 2:
        what = "numbers to predict" if data.classes is None else f"{len(data.classes)} classes"
        raise RecipeError(f"decision.{next(iter(asked))} goes with two classes; {data.name} has {what}")
    looked_for(data.classes, data.class_counts or (), recipe.decision.positive)
    if recipe.decision.threshold == "f1" and not len(data.validation):
        raise RecipeError(
            "decision.threshold=f1 is chosen on validation examples; data.validation=0 leaves none"
        )


def _write_guard(run: Run, state: TrainingState, data: Data, *, quiet: bool) -> dict[str, Any]:
    """Fits the guard and writes its file; returns what the result keeps of it."""
    (run.path / GUARD).unlink(missing_ok=True)
    if not state.processes.alone and state.parallel is None:
        return Guarding.without("the weights are divided among the processes").entries
    began = time.perf_counter()
    learned = run.recipe.data.overfit is not None
    guarding = guarded(state.network, data, share=run.recipe.guard.share, learned=learned)
    if guarding.guard is not None:
        write_bytes(run.path / GUARD, guarding.guard.saved())
        _say(
            f"guard against input unlike the training data fitted to {guarding.entries['examples']:,} examples in "
            f"{time.perf_counter() - began:.1f} s (guard.share)",
            quiet,
        )
    elif run.recipe.guard.share:
        _say(f"no guard against input unlike the training data: {guarding.entries['reason']}", quiet)
    return guarding.entries


def _held_out(recipe: Recipe, state: TrainingState, data: Data) -> tuple[Tensor, Tensor] | None:
    """Returns the probabilities (N, C) and targets (N,) of the validation part, on the CPU; None without classes or without one."""
    if data.classes is None or not len(data.validation):
        return None
    outputs, targets = outputs_of(
        state.network, data.validation, precision=recipe.train.precision, processes=state.processes
    )
    return to_probabilities(outputs, state.loss).cpu(), targets.cpu()


def _decision(
    recipe: Recipe, data: Data, held: tuple[Tensor, Tensor] | None, calibration: Calibration
) -> Decision | None:
    """Returns how one of two classes is taken: the threshold of the best F1 is chosen in validation. None for other tasks."""
    counts = data.class_counts
    if data.classes is None or counts is None or len(counts) != 2:
        return None
    positive = looked_for(data.classes, counts, recipe.decision.positive)
    best = None
    if held is not None:
        shares = tempered(held[0], calibration.temperature)
        best = best_threshold(shares, held[1], positive=positive)
    return Decision.of(positive, asked=recipe.decision.threshold, best=best)


def _write_result(
    run: Run,
    state: TrainingState,
    data: Data,
    result: dict[str, Any],
    *,
    findings: dict[str, Any] | None,
    answers: Tensor | None,
    targets: Tensor | None,
    held: tuple[Tensor, Tensor] | None,
    decision: Decision | None,
    calibration: Calibration,
    tested: tuple[Tensor, Tensor] | None,
    report: bool,
) -> None:
    unseen = {"version": 1, "findings": [], "rules": {"run": [], "not_run": []}, "notes": ["not examined"]}
    write_json(run.path / FINDINGS, findings or unseen)
    result["slices"] = sliced(data, answers, targets, decision=decision)
    learned = run.recipe.data.overfit is not None
    result["data"] = inventory(data, learned=learned)
    if report:
        page = report_of(run, result, data, state.network, answers=answers, targets=targets)
        if answers is not None and targets is not None and not learned:
            page["suspects"] = suspicious(
                data, {"validation": calibration.applied(held), "test": (answers, targets)}
            )
        page["calibration"], page["guard"] = calibration.shown(tested), result["guard"]
        page["diagram"] = _diagram(state, data)
        page["findings"] = None if findings is None else findings["findings"]
        write_report(run.path / REPORT, page)
    # Last, because it is what makes the run finished: a resume after a crash before this line repeats the test.
    write_json(run.path / RESULT, {**result, "best_epoch": state.stopping.best_epoch})
    (run.path / PRETRAINED).unlink(missing_ok=True)


def _diagram(state: TrainingState, data: Data) -> str:
    """Returns the network as SVG, as one example goes through it; nothing where its weights are divided, or it cannot be watched."""
    if not state.processes.alone and state.parallel is None:
        return ""
    try:
        with evaluation_mode(state.network):
            return diagram_of(state.network, data.example.to(state.device)).inline()
    except NetworkError:
        return ""


def _build(recipe: Recipe, data: Data, module: nn.Module | None, origin: Origin | None = None) -> Begun:
    """Builds the network, or takes the one that is given, and tries it on one example."""
    if origin is not None:
        begun = begin_from(origin, recipe, data)
        # What follows draws the same numbers as in a run that is resumed, which does not open the origin.
        seed_everything(recipe.train.seed)
        return begun
    # These losses also take one logit for two classes.
    single = recipe.loss.name in ("bce", "bce-with-logits")
    chosen = recipe.network.name if module is None else module
    return Begun(build_network(chosen, data, single_logit=single, **recipe.network.options()), {})


def _begin(recipe: Recipe, module: nn.Module, data: Data, processes: Processes = ALONE) -> TrainingState:
    """Builds all that trains `module`, as the recipe says."""
    lr = recipe.optimizer.lr
    if isinstance(lr, str):
        raise RecipeError(f"optimizer.lr is still {lr!r}: the learning rate has not been looked for")
    state = begin(
        module,
        data.train,
        loss=recipe.loss.name,
        optimizer=recipe.optimizer.name,
        lr=lr,
        schedule=recipe.schedule.name,
        epochs=recipe.train.epochs,
        batch=recipe.data.batch,
        accumulate=recipe.train.accumulate,
        seed=recipe.train.seed,
        device=recipe.train.device,
        precision=recipe.train.precision,
        ema=recipe.train.ema,
        task=data.task,
        num_classes=data.num_outputs,
        class_counts=data.class_counts,
        loss_options={
            "label_smoothing": recipe.loss.label_smoothing,
            "class_weights": recipe.loss.class_weights,
            **recipe.loss.options(),
        },
        optimizer_options=recipe.optimizer.options(),
        schedule_options=recipe.schedule.options(),
        freezing=freezing_of(recipe, module, data),
        processes=processes,
        sharded=recipe.train.shard and not processes.alone,
    )
    state.stopping = EarlyStopping(**recipe.early_stopping.model_dump())
    return state


@contextlib.contextmanager
def averaged(state: TrainingState) -> Iterator[None]:
    """Puts the averaged weights, where the recipe keeps an average, into the network for a while."""
    with state.average.applied(state.network) if state.average is not None else contextlib.nullcontext():
        yield


def _with_chosen_precision(recipe: Recipe, *, quiet: bool) -> Recipe:
    """Returns the recipe with the precision that `auto` means on this device: the run keeps it, wherever it goes on."""
    if recipe.train.precision != "auto":
        return recipe
    device = choose_device(recipe.train.device)
    chosen = choose_precision("auto", device)
    has = "computes" if chosen == "bf16-mixed" else "does not compute"
    _say(f"precision {chosen}: this {device.type} device {has} in bfloat16", quiet)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": chosen})})


def _with_stream(recipe: Recipe, chosen: bool | None) -> Recipe:
    """Returns the recipe with what `data.stream: auto` came to, where it decides the order: the run keeps it."""
    if chosen is None or recipe.data.stream != "auto":
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"stream": chosen})})


def _with_measured_reading(recipe: Recipe, state: TrainingState, data: Data, *, quiet: bool) -> Data:
    """Returns what lies on disk as it is to be read: raw onto the run's device, by who reads it fastest.

    Who that is, is measured by a short trial that changes no result.
    """
    from netwright.data.stream import StreamSplit
    from netwright.training.reading import choose_reading

    if not isinstance(data.train, StreamSplit):
        return data
    data = data.to(state.device)
    # Several processes would take different numbers of steps in the trial, and wait for each other for ever.
    if recipe.data.workers != "auto" or not state.processes.alone:
        return data
    found = choose_reading(
        state.network,
        lambda copy: _begin(recipe, copy, data),
        data.train,
        batch=recipe.data.batch,
        precision=recipe.train.precision,
    )
    if found is None:
        return data
    _say(found.line(), quiet)
    return data.read_by(found.workers, pinned=found.pinned)


def _with_found_rate(recipe: Recipe, module: nn.Module, data: Data, *, quiet: bool) -> Recipe:
    """Returns the recipe with the learning rate that a short trial found."""
    from netwright.training.rate_finder import find_rate

    trial = recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"lr": None})})
    found = find_rate(
        module,
        lambda copy: _begin(trial, copy, data),
        data.train,
        batch=recipe.data.batch,
        precision=recipe.train.precision,
    )
    _say(f"learning rate {found.rate:.2g} (found by a trial of {len(found.losses)} steps)", quiet)
    return recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"lr": found.rate})})


def _use_threads_of(run: Run, processes: Processes) -> None:
    """Takes the run's thread count: sums are split among threads, so another count rounds otherwise.

    Another number of processes rounds otherwise in any case; their threads are then as many as the machine has for them.
    """
    threads = run.environment.get("threads", torch.get_num_threads())
    if run.environment.get("processes", 1) != processes.world:
        return
    if threads != torch.get_num_threads():
        print(
            f"using {threads} threads, as the run did, instead of {torch.get_num_threads()}", file=sys.stderr
        )
        torch.set_num_threads(threads)


def _write_weights(run: Run, state: TrainingState) -> None:
    with averaged(state):
        weights = as_safetensors(whole_weights(state.network))
    if state.processes.first:
        write_bytes(run.path / WEIGHTS, weights)


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        print(text, file=sys.stderr)
