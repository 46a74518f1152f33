"""A database and its files, kept as they are at one moment and put back again: quicker than to make them anew."""

from __future__ import annotations

import shutil
from pathlib import Path

from psycopg2 import sql

from tests.conftest import cleaner, empty_tables
from utils.database import Base

#: Columns that are computed are not written.
_COLUMNS = {
    table.name: [column.name for column in table.columns if column.computed is None]
    for table in Base.metadata.sorted_tables
}


class Kept:
    """What there is now. It ends with the process."""

    def __init__(self, database_url: str, files: Path, folder: Path) -> None:
        self._url, self._files, self._copies = database_url, files, folder
        shutil.copytree(files, folder, dirs_exist_ok=True)
        connection = cleaner(database_url)
        with connection, connection.cursor() as cursor:
            for table, columns in _COLUMNS.items():
                cursor.execute(
                    sql.SQL("CREATE TEMPORARY TABLE {} AS SELECT {} FROM {}").format(
                        _copy(table), _names(columns), sql.Identifier("public", table)
                    )
                )
            cursor.execute("SELECT sequencename, last_value FROM pg_sequences WHERE last_value IS NOT NULL")
            self._sequences = cursor.fetchall()
            self._full = []
            for table in _COLUMNS:
                cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(_copy(table)))
                if cursor.fetchone()[0]:
                    self._full.append(table)

    def put_back(self) -> None:
        """Whatever happened since."""
        empty_tables(self._url)
        connection = cleaner(self._url)
        with connection, connection.cursor() as cursor:
            for table in self._full:
                names = _names(_COLUMNS[table])
                cursor.execute(
                    sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
                        sql.Identifier("public", table), names, names, _copy(table)
                    )
                )
            for name, last in self._sequences:
                cursor.execute("SELECT setval(%s::regclass, %s)", [f"public.{name}", last])
        for path in self._copies.iterdir():
            if not (self._files / path.name).exists():
                shutil.copy(path, self._files)


def _copy(table: str) -> sql.Identifier:
    return sql.Identifier(f"kept_{table}")


def _names(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
