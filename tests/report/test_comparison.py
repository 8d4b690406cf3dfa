"""How a comparison and the list of runs are printed, and the comparison's page."""

from __future__ import annotations

import copy
import html
import io

from netwright.report.comparison import render_comparison, show_comparison, write_comparison
from netwright.report.listing import show_list, show_pair


def row(name, validation, test, half, *, default=False, state="finished", against=None, reason="", **more):
    known = state != "failed"
    made = {
        "variant": name,
        "default": default,
        "values": {"network.activation": name},
        "with": {},
        "state": state,
        "reason": reason,
        "metric": "accuracy",
        "validation": {"mean": validation} if known else None,
        "mean": test if known else None,
        "interval": [test - half, test + half] if known else None,
        "epochs": 30,
        "seconds": 1.25 if known else None,
        "runs": [f"runs/{name}-seed-0"],
        "curves": [[[1.0, 0.5], [0.5, test if known else None]]],
        "gradients": {"layers": ["1", "3", "5"], "start": [0.001, 0.01, 0.5], "end": [0.1, 0.2, 0.5]}
        if known
        else None,
        "against_best": against,
        "against_default": None,
    }
    return made | more


def difference(mean, larger):
    return {"mean": mean, "interval": [mean - 0.01, mean + 0.01], "p": 0.01, "larger": larger}


ROWS = [
    row("relu", 0.97, 0.965, 0.01, default=True),
    row("tanh", 0.96, 0.966, 0.01, against=difference(0.001, False)),
    row("sigmoid", 0.35, 0.36, 0.1, against=difference(-0.605, True)),
    row("elu", 0.5, 0.52, 0.1, state="pruned", reason="far behind"),
    row(
        "<b>café & co</b> with a long name",
        0,
        0,
        0,
        state="failed",
        reason="the training loss became nan\nand more",
    ),
]
TABLE = {
    "keys": ["network.activation"],
    "titles": ["activation"],
    "metric": "accuracy",
    "seeds": 3,
    "rows": ROWS,
    "sentences": [
        "Larger than the noise: sigmoid is worse than relu (the best in validation, and the default)."
    ],
}
RESULT = {
    "comparison": "out",
    "data": "digits",
    "network": "mlp",
    "metric": "accuracy",
    "examples": {"train": 1258, "validation": 180, "test": 359},
    "same_test_part": False,
    "seeds": [0, 1, 2],
    "tables": [TABLE],
    "rows": ROWS,
    "trials": 13,
    "training_seconds": 16.2,
    "pruning": "a variant far behind is left out",
    "search": None,
    "seconds": 12.0,
}
SEARCH = {
    "settings": 3,
    "stopped": 1,
    "failed": 0,
    "best": {"optimizer.lr": "0.01"},
    "pruning": "what is worse than the median is stopped",
    "rows": [
        {
            "values": {"optimizer.lr": lr},
            "state": state,
            "validation": score,
            "epochs": 3,
            "reason": "",
            "run": f"runs/s{lr}",
        }
        for lr, state, score in [(0.01, "finished", 0.9), (None, "finished", 0.8), (1.0, "stopped", 0.1)]
    ],
}


def printed(show, *arguments, **options):
    stream = io.StringIO()
    show(*arguments, stream=stream, **options)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def test_comparison_in_the_terminal(golden):
    text = printed(show_comparison, {**RESULT, "search": SEARCH}, page="out/comparison.html")
    assert max(map(len, text.splitlines())) <= 80
    golden("comparison.txt", text)


def test_the_page_is_escaped_equal_and_whole(tmp_path):
    page = render_comparison({**RESULT, "search": SEARCH})
    assert page == render_comparison({**RESULT, "search": SEARCH})
    assert "<b>caf" not in page and html.escape("<b>café & co</b>")[:12] in page
    assert "https://" not in page and "src=" not in page and "<script" not in page
    for said in (
        "By activation",
        "The search",
        "Before the first step",
        "Chosen by the validation part (180",
    ):
        assert said in page
    assert page.count("<h1>") == 1
    assert write_comparison(tmp_path, RESULT).read_text(encoding="utf-8") == render_comparison(RESULT)


def test_a_table_in_which_all_failed_has_a_page(golden):
    result = copy.deepcopy(RESULT)
    result["tables"][0]["rows"] = result["rows"] = [ROWS[-1]]
    result["tables"][0]["metric"] = result["metric"] = ""
    result["examples"] = dict.fromkeys(result["examples"])
    assert "failed" in render_comparison(result)
    assert "the training loss became nan" in " ".join(printed(show_comparison, result, page=None).split())


def test_list_of_runs_in_the_terminal(golden, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    made = {
        "interval": [0.95, 0.98],
        "findings": {"error": 1, "warning": 2},
        "differs": {"optimizer.lr": 0.01},
        "reason": "",
    }
    rows = [
        {
            "run": "runs/a",
            "state": "finished",
            "metric": "accuracy",
            "score": 0.97,
            "epochs": 30,
            "seconds": 0.9,
            **made,
        },
        {
            "run": "runs/b",
            "state": "finished",
            "metric": "rmse",
            "score": 3.2,
            "epochs": 3,
            "seconds": 90.0,
            **made,
            "interval": [3.0, 3.4],
        },
        {
            "run": "runs/c",
            "state": "interrupted",
            "metric": "",
            "score": None,
            "epochs": 2,
            "seconds": 1.0,
            **made,
            "interval": None,
            "findings": {},
        },
        {
            "run": "runs/d",
            "state": "broken",
            "metric": "",
            "score": None,
            "epochs": 0,
            "seconds": None,
            **made,
            "interval": None,
            "findings": {},
            "differs": {},
            "reason": "recipe.yaml is not valid YAML",
        },
    ]
    golden(
        "runs.txt",
        printed(show_list, rows, folder="runs", whole=True) + printed(show_list, [], folder="x", whole=False),
    )


def test_two_runs_in_the_terminal(golden):
    score = {
        "test": {"loss": 0.1, "accuracy": 0.97, "interval": [0.95, 0.98]},
        "epochs": 30,
        "seconds": 0.9,
        "findings": 0,
    }
    found = {
        "runs": ["runs/a", "runs/b"],
        "recipe": {"optimizer.lr": [None, 0.01]},
        "scores": [score, {**score, "test": None, "epochs": None, "seconds": None}],
        "differ": {"says": "runs/b is not finished: there is no score to compare."},
    }
    golden("pair.txt", printed(show_pair, found))


def test_a_narrow_terminal_cuts_no_name_and_no_score(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    row = {
        "run": "runs/" + "a" * 40,
        "state": "finished",
        "metric": "accuracy",
        "score": 0.97,
        "interval": [0.9, 0.99],
    }
    row |= {
        "epochs": 30,
        "seconds": 0.9,
        "findings": {"error": 1},
        "reason": "",
        "differs": {"network.hidden": [64] * 9},
    }
    text = printed(show_list, [row], folder="runs", whole=True)
    assert row["run"] in text and "97.00 %" in text and "1 error" in text and "…" not in text
