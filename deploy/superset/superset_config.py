"""Superset for one team on one machine: its own SQLite for users and dashboards, nothing asked of another host."""

import copy
import os

from superset.config import TALISMAN_CONFIG as STOCK

# It encrypts the passwords of databases: keep it with the volume.
SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = "sqlite:////var/lib/superset/superset.db?check_same_thread=false"
# The node's own store is an SQLite file; Superset opens it read-only.
PREVENT_UNSAFE_DB_CONNECTIONS = False

# The stock page asks for a foreign pixel and for map tiles.
TALISMAN_ENABLED = True
TALISMAN_CONFIG = copy.deepcopy(STOCK)
TALISMAN_CONFIG["content_security_policy"].update(
    {
        "img-src": ["'self'", "blob:", "data:"],
        "connect-src": ["'self'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        "font-src": ["'self'"],
    }
)
CONTENT_SECURITY_POLICY_WARNING = False
