"""The server: HTTP in, the records that `predict` gives out.

`app.Application` is the ASGI application of an `Answering`, `listening.serve` runs it at a socket. Needs the extra `serve`.
"""
