"""``make cache-tests``: http-tests/cache-tests through ``ramkit gateway``, scored and written down."""
