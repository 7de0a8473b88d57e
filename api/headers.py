"""Headers that answers bear."""

from __future__ import annotations

#: of every answer: browsers guess no types, and tell nobody where they come from
ALWAYS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
#: of answers of the API: nobody keeps them
OF_API = {**ALWAYS, "Cache-Control": "no-store"}
