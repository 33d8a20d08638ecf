"""What outlives the process: tables, migrations, and the results of earlier requests."""

DATABASE_NAME = "auricle.db"
"""In the data folder; here, so that who only looks for it need not import SQLAlchemy."""

KEYS_MARK = "keys-in-use"
"""Empty file in the data folder: its database has keys, and where it cannot be read, nobody is to be let in."""
