"""The routes: `/healthz`, `/readyz`, `/metrics`, which only read and say nothing that is secret, and `/hooks/git`."""

from __future__ import annotations

from dataclasses import asdict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reconciler.api.hooks import Hooks
from reconciler.api.metrics import Metrics, Stored
from reconciler.api.vitals import Vitals


def application(vitals: Vitals, hooks: Hooks | None = None) -> Starlette:
    """The ASGI application of a service with these vitals; `hooks` None: it takes no messages."""
    metrics = Metrics(vitals, Stored(vitals.link))

    async def healthz(request: Request) -> Response:
        """It answers, so it lives; whether it is well is another question."""
        return JSONResponse({"status": "ok"})

    async def readyz(request: Request) -> Response:
        checks = await vitals.checks()
        is_ready = all(check.state != "failed" for check in checks.values())
        body = {
            "status": "ready" if is_ready else "not ready",
            "checks": {name: asdict(check) for name, check in checks.items()},
        }
        return JSONResponse(body, 200 if is_ready else 503)

    async def figures(request: Request) -> Response:
        text, content_type = await metrics.text(request.headers.get("accept", ""))
        return Response(text, headers={"content-type": content_type})

    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", figures)]
    if hooks:
        routes.append(Route("/hooks/git", hooks.answer, methods=["POST"]))
    return Starlette(routes=routes)
