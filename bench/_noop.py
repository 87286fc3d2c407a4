"""Endpoints of FastAPI that do nothing: what the framework and the server cost by themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

app = FastAPI()


@app.get("/noop")
async def noop() -> dict[str, bool]:
    return {"ok": True}


@app.post("/noop")
async def noop_of_a_body(body: dict[str, Any]) -> dict[str, bool]:
    return {"ok": bool(body)}
