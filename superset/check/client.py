"""Superset by its REST API, with Python's own library."""

import json
import urllib.error
import urllib.request
import uuid
from http.cookiejar import CookieJar
from pathlib import Path

PATIENCE_SECONDS = 120


class Superset:
    """A session of one user."""

    def __init__(self, url: str, user: str, password: str):
        self.url = url.rstrip("/")
        # A proxy of the environment has no business here: Superset is meant to be near.
        jar = urllib.request.HTTPCookieProcessor(CookieJar())
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
        self.headers = {"Referer": self.url}
        login = {"username": user, "password": password, "provider": "db", "refresh": True}
        self.headers["Authorization"] = "Bearer " + self.post("/api/v1/security/login", login)["access_token"]
        self.headers["X-CSRFToken"] = self.get("/api/v1/security/csrf_token/")["result"]

    def get(self, path: str) -> dict:
        return self._ask(path, None, {})

    def post(self, path: str, body: dict) -> dict:
        return self._ask(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def load(self, bundle: Path) -> dict:
        """Imports a bundle; what it describes is as it describes it afterwards."""
        border = uuid.uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="bundle"; filename="fts.zip"\r\nContent-Type: application/zip\r\n\r\n'
        body = head.encode() + bundle.read_bytes() + f"\r\n--{border}--\r\n".encode()
        return self._ask("/api/v1/assets/import/", body, {"Content-Type": f"multipart/form-data; boundary={border}"})

    def all(self, kind: str) -> list:
        """Every database, dataset, chart or dashboard."""
        found = self.get(f"/api/v1/{kind}/?q=(page_size:100)")
        assert found["count"] == len(found["result"]), f"more than a page of {kind}s"
        return sorted(found["result"], key=lambda it: it["id"])

    def _ask(self, path: str, body: bytes | None, headers: dict) -> dict:
        request = urllib.request.Request(self.url + path, body, self.headers | headers)
        try:
            with self.opener.open(request, timeout=PATIENCE_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.code} {error.read().decode(errors='replace')[:2000]}") from None
