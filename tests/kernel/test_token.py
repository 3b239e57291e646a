import pytest

from ramkit.kernel.errors import ConfigurationError
from ramkit.kernel.token import brings_token, token_bytes


@pytest.mark.parametrize(
    ("values", "brings"),
    [
        ([b"Bearer s3cret"], True),
        ([b"bearer  s3cret "], True),
        ([b"Bearer s3cre"], False),
        ([b"Basic s3cret"], False),
        ([b"Bearer"], False),
        ([b"Bearer \xff"], False),
        ([], False),
        ([b"Bearer s3cret", b"Bearer s3cret"], False),  # which of them a proxy looked at, nobody knows
    ],
)
def test_brings_token(values, brings):
    assert brings_token([(b"authorization", value) for value in values], b"s3cret") is brings


@pytest.mark.parametrize("token", ["", " ", "two words", "tab\t", "ü", "line\n"])
def test_what_no_header_could_bring(token):
    with pytest.raises(ConfigurationError, match="detail_token: has to be visible ASCII"):
        token_bytes("detail_token", token)
