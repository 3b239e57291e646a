"""Connection strings: one server each, out of what libpq accepts for several."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

__all__ = ["servers_in", "shown"]

_PAIR = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|(\S*))")
_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
#: What libpq chooses a server by; here roles are discovered.
_CHOOSING = frozenset({"target_session_attrs", "load_balance_hosts", "host", "port"})


def servers_in(text: str, environment: Mapping[str, str]) -> list[str]:
    """A URL for each server that ``text`` names.

    ``text``: a URL with one or more hosts, libpq's ``keyword=value`` form, or the name of an environment
    variable that holds one of these. Raises ``ValueError``, without the text, which may hold a password.
    """
    if _NAME.fullmatch(text):
        if text not in environment:
            raise ValueError(f"there is no environment variable {text}")
        text = environment[text]
    if "://" not in text:
        text = _as_url(text)
    parts = urlsplit(text)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError("it is no postgresql:// URL, keyword=value string or environment variable")
    login, at, hosts = parts.netloc.rpartition("@")
    query = parse_qsl(parts.query, keep_blank_values=True)
    given = dict(query)
    names = hosts.split(",") if hosts else given.get("host", "").split(",")
    ports = given.get("port", "").split(",")
    kept = urlencode([(name, value) for name, value in query if name not in _CHOOSING])
    found: list[str] = []
    for index, name in enumerate(names):
        host = _with_port(name, ports[index] if index < len(ports) else ports[-1])
        if host.startswith(("/", "%2F")):  # a folder with a Unix socket
            folder, _, port = host.partition(":")
            where = urlencode({"host": unquote(folder)} | ({"port": port} if port else {}))
            netloc, kept_here = f"{login}{at}", "&".join(filter(None, [where, kept]))
        else:
            netloc, kept_here = f"{login}{at}{host}", kept
        found.append(f"{parts.scheme}://{netloc}{parts.path}" + (f"?{kept_here}" if kept_here else ""))
    return found


def shown(dsn: str) -> str:
    """Host and port, for logs and metrics: never who logs in, or by what password."""
    parts = urlsplit(dsn)
    return parts.netloc.rpartition("@")[2] or dict(parse_qsl(parts.query)).get("host") or "local"


def _with_port(host: str, port: str) -> str:
    if not port or re.search(r":\d+$", host):
        return host
    return f"{host}:{port}"


def _as_url(text: str) -> str:
    """Libpq's ``keyword=value`` form as a URL."""
    values: dict[str, str] = {}
    end = 0
    for match in _PAIR.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        quoted = match[2]
        values[match[1]] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match[3]
    if not values or text[end:].strip():
        raise ValueError("it is no postgresql:// URL, keyword=value string or environment variable")
    user, password = values.pop("user", ""), values.pop("password", "")
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    name = quote(values.pop("dbname", ""), safe="")
    return f"postgresql://{login}{'@' if login else ''}/{name}?{urlencode(values)}"
