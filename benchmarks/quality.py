"""Quality of the films' multi-head model beside one scikit-learn model per head: same rows, same split, one table.

    python -m benchmarks.quality [--seeds 1 2 3]

* `constant`: always the most frequent answer, or the median.
* `linear`: logistic regression, or ridge for the rating, on hashed title words and binned numbers; the strength of its
  regularization is the one that is best on a fifth of the training rows.
* `trees`: gradient-boosted trees on the numbers.
* `headserve`: examples/movies.toml, one model for all heads; exported, loaded and asked like any client's.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, mean_absolute_error, roc_auc_score

from heads.cli import _quiet
from heads.training import config, data
from heads.training.rows import Rows

CONFIG = Path(__file__).parents[1] / "examples" / "movies.toml"
NUMBERS = ("year", "length", "budget")
HEADS = {"genres": "macro AUC", "mpaa": "accuracy", "rating": "MAE", "popular": "AUC"}
STRENGTHS = (3.0, 1.0, 0.3, 0.1)
Score = Callable[[Any, Any], float]


def macro_auc(labels: Any, scores: Any) -> float:
    """The mean over the classes of the area under the ROC curve."""
    return float(np.mean([roc_auc_score(labels[:, i], scores[:, i]) for i in range(labels.shape[1])]))


SCORES: dict[str, Score] = {
    "genres": macro_auc,
    "mpaa": accuracy_score,
    "rating": mean_absolute_error,
    "popular": roc_auc_score,
}


def better(head: str, score: float, other: float) -> bool:
    """Whether `score` beats `other`: an error should be small."""
    return score < other if head == "rating" else score > other


def labels_of(rows: Rows, head: str) -> Any:
    """`[rows, classes]` for genres, else `[rows]`."""
    labels = rows.labels[head]
    return labels if head == "genres" else labels[:, 0].astype(str) if head == "mpaa" else labels[:, 0]


def numbers_of(rows: Rows) -> Any:
    """`[rows, 3]`, NaN where missing."""
    return np.stack([rows.features[name] for name in NUMBERS], axis=1)


def linear_features(training: Rows, rows: Rows, bins: int = 20) -> Any:
    """Hashed title words beside one-hot bins of the numbers, sparse."""
    parts = [HashingVectorizer(n_features=2**15, norm=None, alternate_sign=False).transform(rows.features["title"])]
    for known, column in zip(numbers_of(training).T, numbers_of(rows).T, strict=True):
        edges = np.unique(np.nanquantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
        place = np.where(np.isnan(column), 0, np.searchsorted(edges, column, side="right") + 1)
        parts.append(scipy.sparse.csr_matrix((np.ones(len(place)), (np.arange(len(place)), place)), (len(place), bins + 2)))
    return scipy.sparse.hstack(parts).tocsr()


def fit_predict(head: str, make: Callable[[], Any], known: Any, labels: Any, asked: Any) -> Any:
    """What models of `make` answer: scores for AUC, classes for accuracy, numbers for MAE."""
    if head == "genres":
        columns = [make().fit(known, labels[:, i]).predict_proba(asked)[:, 1] for i in range(labels.shape[1])]
        return np.stack(columns, axis=1)
    model = make().fit(known, labels)
    return model.predict_proba(asked)[:, 1] if head == "popular" else model.predict(asked)


def constant(head: str, training: Rows, held_out: Rows) -> Any:
    """The answer that needs no features."""
    labels, count = labels_of(training, head), len(held_out)
    if head == "mpaa":
        names, counts = np.unique(labels, return_counts=True)
        return np.full(count, names[counts.argmax()])
    return np.full(count, np.median(labels)) if head == "rating" else np.zeros((count, *labels.shape[1:]))


def linear(head: str, training: Rows, held_out: Rows) -> Any:
    """Logistic regression or ridge."""

    def maker(strength: float) -> Callable[[], Any]:
        if head == "rating":
            return lambda: Ridge(alpha=10 / strength, solver="sparse_cg")
        solver = "lbfgs" if head == "mpaa" else "liblinear"
        return lambda: LogisticRegression(C=strength, max_iter=500, solver=solver)

    features, labels = linear_features(training, training), labels_of(training, head)
    inner = np.random.default_rng(0).random(len(training)) < 0.2
    tried = {
        strength: SCORES[head](
            labels[inner], fit_predict(head, maker(strength), features[~inner], labels[~inner], features[inner])
        )
        for strength in STRENGTHS
    }
    best = (min if head == "rating" else max)(tried, key=lambda strength: tried[strength])
    return fit_predict(head, maker(best), features, labels, linear_features(training, held_out))


def trees(head: str, training: Rows, held_out: Rows) -> Any:
    """Gradient-boosted trees on the numbers alone."""
    kind = HistGradientBoostingRegressor if head == "rating" else HistGradientBoostingClassifier
    return fit_predict(
        head, lambda: kind(random_state=0), numbers_of(training), labels_of(training, head), numbers_of(held_out)
    )


def headserve(seed: int, rows: Rows) -> tuple[dict[str, Any], float]:
    """The served answers of a model trained with `seed`, by head, and the seconds until it was exported."""
    import tensorflow as tf

    from heads.training.train import train

    loaded = config.load(CONFIG)
    seeded = loaded.model_copy(update={"training": loaded.training.model_copy(update={"seed": seed})})
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        trained = train(seeded, Path(folder) / "models", Path(folder) / "runs", Console(file=io.StringIO()))
        seconds = time.monotonic() - started
        predict = tf.saved_model.load(str(trained.folder)).signatures["predict"]
        answers = predict(**{feature.name: tf.constant(rows.features[feature.name]) for feature in loaded.features})
    keys = {"genres": "probabilities", "mpaa": "classes", "rating": "predictions", "popular": "logistic"}
    by_head = {head: answers[f"{head}/{key}"].numpy() for head, key in keys.items()}
    by_head["mpaa"] = by_head["mpaa"][:, 0].astype(str)
    return by_head | {head: by_head[head][:, 0] for head in ("rating", "popular")}, seconds


def show(columns: dict[str, dict[str, float]]) -> None:
    """The table, the best of a row in bold: for a terminal, or as Markdown."""
    header = ["head", "metric", *columns]
    body = []
    for head, metric in HEADS.items():
        scores = {name: column[head] for name, column in columns.items()}
        best = (min if head == "rating" else max)(scores.values())
        body.append([head, metric, *(f"**{s:.4f}**" if s == best else f"{s:.4f}" for s in scores.values())])
    console = Console()
    if not console.is_terminal:
        rows = [header, ["---", "---", *("---:" for _ in columns)], *body]
        print("\n".join(f"| {' | '.join(row)} |" for row in rows))
        return
    table = Table(*header)
    for row in body:
        table.add_row(*(f"[bold green]{cell.strip('*')}[/]" if cell.startswith("**") else cell for cell in row))
    console.print(table)


def main() -> None:
    """Fits everything and prints the table; ends with status 1 when a linear model beats a head."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[1])
    seeds = arguments.parse_args().seeds
    _quiet(verbose=False)
    films = data.load(config.load(CONFIG))
    truth = {head: labels_of(films.held_out, head) for head in HEADS}
    columns = {
        baseline.__name__: {head: SCORES[head](truth[head], baseline(head, films.training, films.held_out)) for head in HEADS}
        for baseline in (constant, linear, trees)
    }
    seconds = 0.0
    for seed in seeds:
        answers, seconds = headserve(seed, films.held_out)
        name = "headserve" if len(seeds) == 1 else f"headserve, seed {seed}"
        columns[name] = {head: SCORES[head](truth[head], answers[head]) for head in HEADS}
    show(columns)
    counts = f"{len(films.training):,} films to train on, {len(films.held_out):,} held out"
    print(f"\n{counts}; trained, evaluated and exported in {seconds:.0f} s.")
    beaten = [
        f"{head} ({name})"
        for name, column in columns.items()
        for head in HEADS
        if name.startswith("headserve") and better(head, columns["linear"][head], column[head])
    ]
    if beaten:
        raise SystemExit(f"The linear model is better on: {', '.join(beaten)}")


if __name__ == "__main__":
    main()
