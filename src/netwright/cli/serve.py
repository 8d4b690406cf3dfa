"""`netwright serve RUN|ARTEFACT`: a network behind HTTP, with a page to try it on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from netwright.cli.arguments import RunOrArtefact, opened, say, whole

if TYPE_CHECKING:
    from netwright.shipping import Answering


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)


def serve(
    source: RunOrArtefact,
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 is every one that this machine has.")
    ] = "127.0.0.1",
    port: Annotated[str, typer.Option(metavar="N", help="0: any that is free.")] = "8000",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name by which it is asked, beside this machine's own; may be repeated. Needed behind a proxy that passes its own name on.",
            show_default=False,
        ),
    ] = None,
    max_bytes: Annotated[str, typer.Option(metavar="N", help="The largest body of a request.")] = str(
        8 << 20
    ),
    batch: Annotated[
        str, typer.Option(metavar="N", help="Inputs that go through the network at once; 1: one by one.")
    ] = "64",
    wait: Annotated[
        str, typer.Option(metavar="MS", help="Milliseconds that a batch waits for more inputs.")
    ] = "3",
) -> None:
    """Answer over HTTP: POST /predict, a page to try at /, what can be asked at /docs.

    The address is the first line on standard output. For example: curl -H 'Content-Type: image/png' --data-binary @photo.png
    http://127.0.0.1:8000/predict
    """
    from netwright.errors import RecipeError

    number = whole("--port", port, least=0)
    if number is None or number > 65535:
        raise RecipeError(f"--port is a whole number from 0 to 65535, not {port!r}")
    asked = {
        "body_bytes": whole("--max-bytes", max_bytes, least=1),
        "batch": whole("--batch", batch, least=1),
        "wait_seconds": (whole("--wait", wait, least=0) or 0) / 1000,
    }
    allowed = _names(allow_host or [])
    _check_packages()

    from netwright.shipping.server.hosts import is_loopback, names_for
    from netwright.shipping.server.limits import Limits
    from netwright.shipping.server.listening import address_of, bound_socket
    from netwright.shipping.server.listening import serve as listen

    # One text after the other: the library's threads would take the two that serve turns with the network's.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    limits = Limits(**asked)  # type: ignore[arg-type]
    with bound_socket(host, number) as bound:
        answering = _answering_of(source)
        address = bound.getsockname()[0]

        def tell() -> None:
            print(address_of(bound), flush=True)
            say(
                f"{answering.card.title}: a page to try it at the address, /docs says what can be asked; Ctrl-C ends it."
            )
            if not is_loopback(address):
                say("Whoever reaches this machine can ask it: there is no password and no encryption.")

        listen(answering, bound, limits, hosts=names_for(host, address, allowed), on_ready=tell)


def _answering_of(source: str) -> Answering:
    """Returns what answers for an artefact or a finished run."""
    from netwright.errors import RunFolderError
    from netwright.run import Run

    found = opened(source)
    if not isinstance(found, Run):
        return found
    if not found.finished:
        raise RunFolderError(
            f"{found.path} is not finished, so that it was never tested.\nGo on with: netwright resume {found.path}"
        )
    return found.answering


def _names(allowed: list[str]) -> list[str]:
    from netwright.errors import RecipeError
    from netwright.shipping.server.hosts import name_in

    for name in allowed:
        if name_in(name) != name.lower():
            raise RecipeError(f"--allow-host is a name such as example.org, without a port, not {name!r}")
    return allowed


def _check_packages() -> None:
    from netwright.errors import ServingError

    try:
        import fastapi  # noqa: F401
        import httptools  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ServingError(
            f"serving needs {error.name}, which is not installed: pip install 'netwright[serve]'"
        ) from None
