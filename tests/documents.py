"""Every fenced block of the documents, and by which test each is run: tests get them from here."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md")
FENCE = re.compile(r"^ *(`{3,}|~{3,})(.*)$")

DATA = {"json", "yaml", "toml"}
"""Languages of blocks that tests/unit/test_docs_blocks.py reads, all of them."""


@dataclass(frozen=True)
class Block:
    """What stands between two fences, and where."""

    page: str
    line: int
    language: str
    text: str

    @property
    def source(self) -> str:
        return f"```{self.language}\n{self.text}"

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read(page: str, text: str) -> Iterator[Block]:
    """The blocks of a page, indented ones as well."""
    opened: tuple[int, str, str] | None = None
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened, lines = (number, fence[1], fence[2].strip()), []
        elif opened and fence and fence[1].startswith(opened[1]) and not fence[2].strip():
            yield Block(page, opened[0], opened[2], "".join(f"{each}\n" for each in lines))
            opened = None
        else:
            lines.append(line)
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]} has no end")


BLOCKS = tuple(
    block
    for pattern in PAGES
    for path in sorted(ROOT.glob(pattern))
    for block in read(str(path.relative_to(ROOT)), path.read_text())
)

E2E = "tests/e2e/"
DOCS = E2E + "test_docs_commands.py::"
CLIENT = E2E + "test_client_docs.py::"
UNIT = "tests/unit/"

Claims = Mapping[str, tuple[tuple[str, str], ...]]

RUN: Claims = {
    # a test, or a fixture: of which pages it runs the blocks with which words, "```python" for all
    E2E + "test_quick_start.py::test_a_curve_is_drawn_within_two_minutes": (
        ("README.md", "pip install -c constraints.txt"),
        ("README.md", "stepsize up"),
        ("README.md", "stepsize range-test"),
    ),
    E2E + "test_curves.py::test_the_readme_does_what_it_says": (("README.md", "```python"),),
    E2E + "test_typescript.py::project": (("docs/api.md", "npx openapi-typescript"),),
    DOCS + "test_make_has_the_two_commands": (("README.md", "make demo"),),
    DOCS + "test_the_readme_pauses_and_goes_on": (("README.md", "stepsize pause"),),
    DOCS + "test_a_sweep_is_previewed_watched_and_read": (
        ("docs/sweeps.md", "name: peak x momentum"),
        ("docs/sweeps.md", "$ stepsize sweep lr.yaml --preview"),
        ("docs/sweeps.md", 'client.sweeps.submit("lr.yaml")'),
    ),
    DOCS + "test_a_sweep_is_judged": (
        ("docs/sweeps.md", "$ stepsize sweep-ranking"),
        ("docs/sweeps.md", "$ stepsize sweep-importance"),
    ),
    DOCS + "test_a_setting_is_picked": (
        ("docs/sweeps.md", '"space": {"/batch_size": [16, 32, 64, 128]}'),
        ("docs/sweeps.md", "$ stepsize sweep-pick"),
    ),
    DOCS + "test_a_recipe_compares_schedules": (("docs/sweeps.md", "$ stepsize recipe"),),
    DOCS + "test_events_are_followed_as_the_api_page_shows": (("docs/api.md", "client.events("),),
    DOCS + "test_webhooks_are_made_and_looked_after": (("docs/webhooks.md", "```console"),),
    DOCS + "test_benchmarks_take_these_words": (
        ("docs/case-study.md", "```console"),
        ("docs/suggestion-quality.md", "```console"),
    ),
    CLIENT + "test_the_python_runs_in_a_notebook": (("docs/client.md", "```python"),),
    CLIENT + "test_the_commands_run_in_a_shell": (
        ("docs/client.md", "kind: training"),
        ("docs/client.md", "id=$(stepsize submit"),
        ("docs/client.md", "stepsize export"),
    ),
    CLIENT + "test_the_shell_completes_what_was_typed": (
        ("docs/client.md", "stepsize --install-completion"),
    ),
    UNIT + "test_docs_blocks.py::test_what_is_to_be_installed_is_there": (
        ("docs/client.md", "pip install"),
        ("docs/watching.md", "pip install"),
    ),
    UNIT + "test_docs_blocks.py::test_commands_of_other_machines_exist": (
        ("docs/pool.md", "stepsize worker --devices"),
        ("docs/operations.md", "stepsize drain"),
        ("docs/operations.md", "stepsize backup"),
        ("docs/operations.md", "stepsize restore"),
    ),
    E2E + "test_plugins.py::test_from_a_template_to_a_range_test_as_the_page_says": (
        ("docs/plugins.md", "```sh"),
    ),
    UNIT + "test_docs_blocks.py::test_a_plug_in_of_the_page_is_one": (
        ("docs/plugins.md", "```python"),
    ),
    E2E + "test_deployment_docs.py::test_the_page_is_followed_from_the_first_start_to_the_last": (
        ("docs/deployment.md", "```sh"),
    ),
    UNIT + "test_architecture.py::test_the_diagram_has_no_other_arrows": (
        ("docs/states.md", "```mermaid"),
    ),
    UNIT + "test_schedules_docs.py::test_formulas_are_those_of_the_policies": (
        ("docs/schedules.md", "```text"),
    ),
    UNIT + "test_sweeps_docs.py::test_what_is_shown_in_python_is_so": (
        ("docs/sweeps.md", "```python\n>>> "),
    ),
    UNIT + "test_docs_blocks.py::test_an_event_travels_as_shown": (
        ("docs/api.md", "event: points"),
    ),
    UNIT + "test_webhooks_docs.py::test_the_code_verifies_what_is_sent_and_nothing_else": (
        ("docs/webhooks.md", "```python"),
    ),
}

CONTAINERS = "needs an engine for containers; tests/e2e/test_images.py runs what they hold"

NOT_RUN: Mapping[tuple[str, str], str] = {
    ("docs/operations.md", "git pull"): CONTAINERS,
    ("docs/operations.md", "--scale worker=4"): CONTAINERS,
    ("docs/operations.md", "up -d --build --no-deps migrate api"): CONTAINERS,
    ("docs/operations.md", "umask 077"): CONTAINERS + "; tests/e2e/test_backup.py dumps as here",
    ("docs/operations.md", "volume cp -a /backup"): CONTAINERS
    + "; test_backup.py restores as here",
    ("docs/operations.md", "psql -U stepsize -c"): CONTAINERS,
    (
        "docs/operations.md",
        "kubectl apply -k",
    ): "needs a cluster; tests/unit looks at the files",
    (
        "docs/operations.md",
        "make images",
    ): "takes minutes; it runs tests/e2e/test_images.py",
    ("docs/series-format.md", "| SSC  |"): "a drawing; tests/store/test_chunks.py reads by it",
    ("docs/sweeps.md", '{"iterations": 1800, "val_loss"'): "the end of an answer that is longer",
    ("docs/watching.md", "docker compose logs"): "needs the logs of containers, and jq",
    ("docs/watching.md", "├─ job.claim"): "a drawing; tests/e2e/test_traces.py sees these spans",
    ("docs/webhooks.md", "webhook-signature:"): "headers of a message whose secret is not shown",
}
"""Why nothing can run what has these words."""


def run_by(test: str) -> list[Block]:
    """The blocks that a test runs, as they stand in the documents."""
    return [
        block
        for block in BLOCKS
        if any(block.page == page and words in block.source for page, words in RUN[test])
    ]


def with_words(page: str, words: str) -> list[Block]:
    """The blocks of a page in which these words are."""
    return [block for block in BLOCKS if block.page == page and words in block.source]
