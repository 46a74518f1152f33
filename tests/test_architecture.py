"""The shape of the code, read from the code: who imports whom, who commits, and lists that must agree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from alembic.script import ScriptDirectory
from flask import Flask
from flask_migrate import check
from psycopg2 import sql
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

import config
import resources
from services import readiness
from utils.database import Base

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {
    "utils": 0,
    "config": 1,
    "models": 2,
    "schemas": 3,
    "services": 3,
    "resources": 4,
    "tasks": 4,
    "seed": 4,
    "commands": 5,
    "app": 6,
}
PRODUCT = [
    path
    for name in LAYERS
    for path in ([ROOT / f"{name}.py"] if (ROOT / f"{name}.py").exists() else sorted((ROOT / name).glob("**/*.py")))
]


def imports(path: Path) -> Iterator[str]:
    """But for those of types only, which a module that is handed an object may name."""
    tree = ast.parse(path.read_text())
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_downwards(path: Path) -> None:
    own = layer_of(path)
    for name in imports(path):
        other = name.split(".")[0]
        if other not in LAYERS or other == own:
            continue
        assert LAYERS[other] < LAYERS[own], f"{own} imports {name}"
        assert (own, other) != ("models", "config")


@pytest.mark.parametrize("path", sorted((ROOT / "resources").glob("*.py")), ids=lambda path: path.name)
def test_a_resource_imports_no_other_resource(path: Path) -> None:
    if path.name not in ("__init__.py", "openapi.py"):  # the table, and what describes it
        assert {name for name in imports(path) if name.startswith("resources")} <= {
            f"resources.base.{name}"
            for name in ("ADMINS", "AT_THE_GATE", "LOGGED_IN", "ORGANIZERS", "PUBLIC", "Resource", "endpoint")
        }


def test_only_the_edges_know_flask() -> None:
    adapters = {
        "app.py", "commands.py", "config.py", "tasks.py",
        *(f"utils/{name}.py" for name in ("background", "database", "http", "mpesa", "security", "tokens")),
        "utils/browser_rules.py", "utils/floods.py", "utils/ready.py", "utils/signing.py", "utils/tables.py",
    }  # fmt: skip
    for path in PRODUCT:
        knows = any(name.split(".")[0] in ("flask", "flask_restful") for name in imports(path))
        name = str(path.relative_to(ROOT))
        assert not knows or name in adapters or name.startswith("resources/"), name


def test_the_simulator_imports_nothing_of_ticksy() -> None:
    for path in (ROOT / "daraja_simulator").glob("**/*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & set(LAYERS), path


def test_only_the_transaction_commits() -> None:
    committing = [str(path.relative_to(ROOT)) for path in PRODUCT if ".commit(" in path.read_text()]
    assert committing == ["utils/database.py"]


def test_sql_is_written_out_and_never_put_together_from_words() -> None:
    """What comes from outside is a parameter: no f-string, sum or format is ever a statement."""
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in ("text", "literal_column"):
                    assert isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}"


def test_templates_escape_all_but_the_drawing_of_a_code() -> None:
    files = [path for path in (ROOT / "templates").glob("**/*") if path.is_file()]
    raw = [line.strip() for path in files for line in path.read_text().splitlines() if re.search(r"\|\s*safe\b", line)]
    assert [re.findall(r"{{(.*?)}}", line) for line in raw] == [[" picture | safe "]]
    assert not [path for path in PRODUCT if "Markup(" in path.read_text() or "autoescape=False" in path.read_text()]


def test_only_config_reads_the_environment() -> None:
    reading = [
        str(path.relative_to(ROOT)) for path in PRODUCT if re.search(r"os\.environ|os\.getenv", path.read_text())
    ]
    assert set(reading) <= {"config.py", "utils/postgres.py", "utils/postgres_programs.py"}


def test_the_environment_example_names_exactly_the_settings() -> None:
    named = re.findall(r"^([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert named == list(dict.fromkeys(named))
    assert set(named) == set(config.Settings.model_fields)


def test_the_readme_names_exactly_the_addresses_of_the_url_table() -> None:
    readme = (ROOT / "README.md").read_text()
    named = {re.sub(r"<[^>]*>", "<>", found) for found in re.findall(r"^\| `(/[^`]*)`", readme, re.MULTILINE)}
    known = {re.sub(r"<[^>]*>", "<>", address) for _, addresses in resources.URLS for address in addresses}
    assert named == known


def test_every_path_a_resource_answers_to_is_listed_once() -> None:
    addresses = [address for _, all_ in resources.URLS for address in all_]
    assert len(addresses) == len(set(addresses))


def test_migrations_have_one_head_and_leave_nothing_to_change(app: Flask) -> None:
    assert ScriptDirectory(str(ROOT / "migrations")).get_heads() == [readiness.newest_revision()]
    with app.app_context():
        check()


CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
    UNION ALL
    SELECT tablename, indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    UNION ALL
    SELECT table_name, column_name, concat_ws(' ', data_type, is_nullable, column_default, generation_expression)
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
"""


def test_the_migrated_schema_is_the_models_to_the_last_constraint(database_url: str) -> None:
    """Alembic's own comparison sees no CHECK constraints."""
    url = make_url(database_url)
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    fresh = f"{url.database}_models"
    connection = psycopg2.connect(plain)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(fresh)))
        cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(fresh)))
        cursor.execute(CONSTRAINTS)
        migrated = set(cursor.fetchall())
    engine = create_engine(url.set(database=fresh))
    Base.metadata.create_all(engine)
    with engine.connect() as made:
        modelled = {tuple(row) for row in made.exec_driver_sql(CONSTRAINTS)}
    engine.dispose()
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(fresh)))
    connection.close()
    assert len(modelled) > 100
    assert migrated == modelled
