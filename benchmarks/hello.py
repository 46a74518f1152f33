"""The yardstick: a plain Flask view that returns a constant, served by gunicorn with two sync workers."""

from __future__ import annotations

from flask import Flask

app = Flask(__name__, static_folder=None)


@app.get("/")
def hello() -> dict[str, str]:
    return {"message": "hello"}
