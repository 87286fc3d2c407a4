"""The endpoint of FastAPI that does nothing: what the framework and the server cost by themselves."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/noop")
async def noop() -> dict[str, bool]:
    return {"ok": True}
