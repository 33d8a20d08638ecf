"""The one error of the store; free of SQLAlchemy, so that those who catch it need not import that."""


class StoreUnavailable(Exception):
    """The database cannot be read or written; the message says why and holds no data."""
