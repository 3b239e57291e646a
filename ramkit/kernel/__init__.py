"""What every room stands on: ASGI types, headers, replies, the client's address, the request
context, the clock, errors, observers and lazy resources.

Standard library and Starlette's types and HTTPException only.
"""
