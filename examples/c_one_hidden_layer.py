"""(c) MNIST with 784-500-10, ReLU and SGD, in one call.

`nw.fit` trains, tests and saves: the folder that it returns holds the recipe, the weights and report.html.
"""

import argparse

import netwright as nw


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int, help="use only so many examples of each part")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    run = nw.fit(
        "mlp",
        "mnist",
        hidden=[500],
        activation="relu",
        loss="cross-entropy",
        optimizer="sgd",
        lr=0.01,
        batch=64,
        epochs=args.epochs,
        seed=args.seed,
        # Any other entry of a recipe: train on all 60,000 images, and keep the weights of the last epoch.
        recipe={"data.validation": 0, "data.limit": args.limit, "checkpoint.keep": "last"},
    )

    test = run.result["test"]
    low, high = test["interval"]
    print(f"test accuracy {test['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%})")

    # Raw images go in, pixels from 0 to 255: the run keeps what prepares them.
    for answer in run.predict(run.data.test.inputs[:5]):
        label = answer["label"]
        print(f"image {answer['input']}: a {label}, with probability {answer['probabilities'][label]:.3f}")
    print(f"report: {run.path / 'report.html'}")


if __name__ == "__main__":
    main()
