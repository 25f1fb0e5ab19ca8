"""Superset by its REST API, with Python's own library."""

import json
import re
import urllib.error
import urllib.request
import uuid
import zipfile
from http.cookiejar import CookieJar
from pathlib import Path

PATIENCE_SECONDS = 120
# Of how much of an answer a person is told.
SHOWN = 2000


class Refused(RuntimeError):
    """What was asked for was not done; the text says why, and what to do."""


class Superset:
    """A session of one user."""

    def __init__(self, url: str, user: str, password: str):
        self.url = url.rstrip("/")
        # A proxy of the environment has no business here: Superset is meant to be near.
        jar = urllib.request.HTTPCookieProcessor(CookieJar())
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
        self.headers = {"Referer": self.url}
        login = {"username": user, "password": password, "provider": "db", "refresh": True}
        try:
            token = self.post("/api/v1/security/login", login)["access_token"]
        except Refused as error:
            raise Refused(f"{user} can't log in: is SUPERSET_PASSWORD right? ({error})") if " 401 " in str(error) else error from None
        self.headers["Authorization"] = f"Bearer {token}"
        self.headers["X-CSRFToken"] = self.get("/api/v1/security/csrf_token/")["result"]

    def get(self, path: str) -> dict:
        return self._ask(path, None, {})

    def post(self, path: str, body: dict) -> dict:
        return self._ask(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def load(self, bundle: Path) -> list:
        """Imports a bundle if Superset reaches its database; what it describes is as it describes it afterwards.
        Answers the names of the dashboards."""
        uri, name, boards = described(bundle)
        shown = re.sub(r"(://[^:/@]*):[^/@]*@", r"\1:…@", uri)
        try:
            self.post("/api/v1/database/test_connection/", {"sqlalchemy_uri": uri, "database_name": name, "impersonate_user": False})
        except Refused as error:
            raise Refused(f"nothing was imported, as Superset does not reach {shown}: {hint(uri, str(error))}") from None
        border = uuid.uuid4().hex
        head = f'--{border}\r\nContent-Disposition: form-data; name="bundle"; filename="fts.zip"\r\nContent-Type: application/zip\r\n\r\n'
        body = head.encode() + bundle.read_bytes() + f"\r\n--{border}--\r\n".encode()
        self._ask("/api/v1/assets/import/", body, {"Content-Type": f"multipart/form-data; boundary={border}"})
        self._expect_tables(uri, name, shown)
        return boards

    def all(self, kind: str) -> list:
        """Every database, dataset, chart or dashboard."""
        found = self.get(f"/api/v1/{kind}/?q=(page_size:100)")
        assert found["count"] == len(found["result"]), f"more than a page of {kind}s"
        return sorted(found["result"], key=lambda it: it["id"])

    def _expect_tables(self, uri: str, name: str, shown: str) -> None:
        """Superset can list them only once it has the database."""
        is_sqlite = uri.startswith("sqlite")
        schema, wanted = ("main", "v_candles") if is_sqlite else (uri.rsplit("/", 1)[1], "candles")
        (database,) = (it["id"] for it in self.all("database") if it["database_name"] == name)
        try:
            found = self.get(f"/api/v1/database/{database}/tables/?q=(force:!t,schema_name:'{schema}')")["result"]
            said = f"it has {len(found)} tables, and no {wanted}"
        except Refused as error:
            found, said = [], reason(str(error))
        if wanted not in (it["value"] for it in found):
            what = "is that the node's data directory?" if is_sqlite else "are catalog and keyspace right, and has a node started on them?"
            raise Refused(f"imported, but the charts will be empty, as {shown} is no store of a node: {said}: {what}")

    def _ask(self, path: str, body: bytes | None, headers: dict) -> dict:
        request = urllib.request.Request(self.url + path, body, self.headers | headers)
        try:
            with self.opener.open(request, timeout=PATIENCE_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(f"{path}: {error.code} {error.read().decode(errors='replace')[:SHOWN]}") from None
        except urllib.error.URLError as error:
            raise Refused(f"{self.url} does not answer: {error.reason}") from None
        except (OSError, ValueError) as error:
            raise Refused(f"{self.url}{path} does not answer as Superset does: {error}") from None


def described(bundle: Path) -> tuple[str, str, list]:
    """The address and the name of the database of a bundle, and its dashboards."""

    def value(text: str, name: str) -> str:
        (found,) = re.findall(rf"^{name}: (.*)$", text, re.M)
        return json.loads(found) if found.startswith('"') else found

    try:
        with zipfile.ZipFile(bundle) as packed:
            texts = {it: packed.read(it).decode() for it in packed.namelist()}
        (database,) = (text for path, text in texts.items() if "/databases/" in path)
        boards = [value(text, "slug") for path, text in texts.items() if "/dashboards/" in path]
        return value(database, "sqlalchemy_uri"), value(database, "database_name"), boards
    except FileNotFoundError:
        raise Refused(f"{bundle} is not there: superset/export.py writes it") from None
    except (OSError, ValueError, zipfile.BadZipFile):
        raise Refused(f"{bundle} is no bundle of superset/export.py") from None


def reason(said: str) -> str:
    """What Superset said, without what it says around it."""
    messages = re.findall(r'"(?:message|error)": *"((?:[^"\\]|\\.)*)"', said)
    told = json.loads(f'"{messages[0]}"') if messages else said
    (told, *_) = re.findall(r"\[SQL: (.*?)\]?\n", told) or [told]
    return told.strip().rstrip(".")


def hint(uri: str, said: str) -> str:
    """What Superset said, and what that means mostly."""
    told = reason(said)
    if "security reasons" in told:
        return f"{told}. Set PREVENT_UNSAFE_DB_CONNECTIONS = False in its superset_config.py"
    if "driver" in told.lower():
        return f"{told}. Install it beside Superset: pip install trino"
    if uri.startswith("sqlite"):
        return f"{told}. The file must be where Superset runs, at that path, and readable for its user with its -wal and -shm"
    return f"{told}. Host and port must be right as seen from Superset"
