"""The routes of the server, on FastAPI."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from netwright.shipping.answers import Answering
from netwright.shipping.server.body import Gone
from netwright.shipping.server.facts import facts_of, predict_operation, refusal_schema
from netwright.shipping.server.hosts import stranger_in
from netwright.shipping.server.limits import Limits, Refusal
from netwright.shipping.server.metrics import MEDIA_TYPE
from netwright.shipping.server.page import content_security_policy, docs_page, page
from netwright.shipping.server.predicting import Predicting

logger = logging.getLogger("netwright.serve")
PATHS = ("/", "/predict", "/health", "/ready", "/metrics", "/card", "/docs", "/openapi.json")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]


class Application:
    """The ASGI application that answers for one network: FastAPI, and before it the way of POST /predict, which is the hot one.

    It counts requests, refuses those that name another host than `hosts` (None: any is taken), adds the headers that all answers
    have, and turns a fault of ours into a plain 500.
    """

    def __init__(
        self, answering: Answering, limits: Limits | None = None, *, hosts: frozenset[str] | None = None
    ) -> None:
        limits = limits or Limits()
        self.hosts = hosts
        self.predicting = Predicting(answering, limits)
        self.fastapi = _routes(self.predicting, facts_of(answering.card, self.predicting.intake, limits))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.fastapi(scope, receive, send)
            return
        status = 0

        async def counted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        try:
            stranger = stranger_in(scope["headers"], self.hosts)
            # By FastAPI's own way a small request takes 0.56 ms of the event loop, by this one 0.39.
            if stranger is not None:
                await _misdirected(stranger)(scope, receive, counted)
            elif scope["path"] == "/predict" and scope["method"] == "POST":
                response = await predict(self.predicting, Request(scope, receive))
                await response(scope, receive, counted)
            else:
                await self.fastapi(scope, receive, counted)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if status:
                raise
            fault = JSONResponse({"detail": "a fault in the server, which it has logged"}, 500)
            await fault(scope, receive, counted)
        finally:
            path = scope["path"] if scope["path"] in PATHS else "other"
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.predicting.metrics.count_request(path, method, status)


def _routes(predicting: Predicting, facts: dict[str, Any]) -> FastAPI:
    card = predicting.answering.card

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(predicting.warm_up)
        yield
        predicting.closing = True
        await asyncio.to_thread(predicting.close)

    app = FastAPI(
        title=card.title,
        version=card.netwright or "0",
        summary="A network trained by netwright.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    _add_predict(app, predicting)
    _add_states(app, predicting)
    _add_pages(app, predicting, facts)
    return app


async def predict(predicting: Predicting, request: Request) -> Response:
    """Returns the answer to a POST /predict."""
    begun = time.perf_counter()
    try:
        if predicting.closing:
            raise Refusal(503, "the server is ending", close=True)
        content = await predicting.answer(request)
    except Refusal as refusal:
        return _refused(refusal)
    except Gone:
        return Response(status_code=499)  # as nginx counts it: nobody is there to read it
    finally:
        predicting.metrics.observe_predict(time.perf_counter() - begun)
    return Response(content, media_type="application/json")


def _add_predict(app: FastAPI, predicting: Predicting) -> None:
    operation = predict_operation(predicting.answering.card, predicting.intake, predicting.limits)

    @app.post(
        "/predict",
        response_class=Response,
        openapi_extra={"requestBody": operation["requestBody"]},
        responses={int(status): about for status, about in operation["responses"].items()},
    )
    async def predict_inputs(request: Request) -> Response:
        """Answers inputs: labels with their probabilities, or values."""
        return await predict(predicting, request)


def _misdirected(host: str) -> Response:
    why = f"the header Host names {host[:80]!r}, which is no name of this server (serve --allow-host NAME adds one)"
    return _refused(Refusal(400, why, close=True))


def _refused(refusal: Refusal) -> Response:
    headers = {"connection": "close"} if refusal.close else {}
    if refusal.status == 503:
        headers["retry-after"] = "1"
    return JSONResponse({"detail": _encodable(refusal.why)}, refusal.status, headers)


def _encodable(text: str) -> str:
    """Returns a text with what has no UTF-8 (half of a surrogate pair) written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _add_states(app: FastAPI, predicting: Predicting) -> None:
    refused: dict[int | str, dict[str, Any]] = {
        503: {"content": {"application/json": {"schema": refusal_schema()}}}
    }

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Says that the server is alive."""
        return {"status": "alive"}

    @app.get("/ready", responses=refused)
    async def ready() -> Response:
        """Says whether inputs are answered: 503 before the network is warmed up and from the signal to end on."""
        if predicting.ready and not predicting.closing:
            return JSONResponse({"status": "ready"})
        why = "the server is ending" if predicting.closing else "the network is being loaded"
        return _refused(Refusal(503, why))

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(predicting.metrics.text(), media_type=MEDIA_TYPE)


def _add_pages(app: FastAPI, predicting: Predicting, facts: dict[str, Any]) -> None:
    front = page(predicting.answering.card, predicting.intake, facts)

    @app.get("/card")
    async def card() -> dict[str, Any]:
        """What the network is: its classes, what it takes, how it was tested."""
        return facts

    @app.get("/", response_class=HTMLResponse)
    async def index() -> HTMLResponse:
        """The page on which the network can be tried."""
        return HTMLResponse(front, headers={"content-security-policy": content_security_policy(front)})

    @app.get("/docs", response_class=HTMLResponse)
    async def docs(request: Request) -> HTMLResponse:
        """What can be asked, as a page."""
        address = str(request.base_url).rstrip("/")
        text = docs_page(facts, app.openapi(), predicting.media_in_words(), address)
        return HTMLResponse(text, headers={"content-security-policy": content_security_policy(text)})
