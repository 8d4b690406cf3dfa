"""The server: HTTP in, the records that `predict` gives out.

`create_app` is the ASGI application of an `Answering`, `serve` runs it at a socket. Needs the extra `serve`.
"""
