"""Write the dashboards beside this folder: ``python -m deploy.grafana.source``, from the root of the repository."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.grafana.source.customers import customers
from deploy.grafana.source.departments import departments
from deploy.grafana.source.operations import operations
from deploy.grafana.source.policy import policy

FOLDER = Path(__file__).resolve().parents[1] / "dashboards"


def documents() -> dict[str, str]:
    """The text of every file, by its name."""
    made = [operations(), departments(), policy(), customers()]
    return {f"{one.name}.json": json.dumps(one.document(), indent=2, ensure_ascii=False) + "\n" for one in made}


def main() -> None:
    """Write all of them."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
