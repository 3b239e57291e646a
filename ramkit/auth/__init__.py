"""Who is asking: sessions in ``ramkit.auth.sessions``, passwords in ``ramkit.auth.passwords``."""
