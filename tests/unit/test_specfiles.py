"""A directory of YAML: what it makes of good files, and the place and the words of every fault in bad ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from reconciler.errors import ReconcilerError
from reconciler.registry import Task
from reconciler.registry.params import ParamFault
from reconciler.spec import SpecSet, TaskSpec
from reconciler.specfiles import SpecReader, check_against


def write(root: Path, **files: str) -> None:
    """Files by name, `team__a` being `team/a.yaml`."""
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def lines(found: SpecSet, root: Path) -> list[str]:
    return [str(fault).removeprefix(f"{root}/") for fault in found.faults]


def build(region: str, size: int = 3) -> None: ...


TASKS = {"reports.build": Task("reports.build", build, False, "", "tasks.reports")}


def told_of_tasks(root: Path) -> list[str]:
    return lines(SpecReader(root, check=check_against(TASKS)).read(), root)


def by_name(found: SpecSet) -> dict[str, TaskSpec]:
    assert found.faults == ()
    return {one.spec.name: one.spec for one in found.specs}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "specs"
    root.mkdir()
    return root


def test_the_name_is_the_files_unless_it_says_another(root: Path) -> None:
    write(root, a="task: t", team__b="task: t\nname: other\n", c="task: t\n---\ntask: t\nname: d\n")
    found = SpecReader(root).read()
    assert [(one.spec.name, one.path, one.line) for one in found.specs] == [
        ("a", "a.yaml", 1),
        ("c", "c.yaml", 1),
        ("d", "c.yaml", 3),
        ("other", "team/b.yaml", 1),
    ]
    assert (found.files, found.faults, found.warnings) == (3, (), ())


def test_a_byte_order_mark_and_crlf_are_fine(root: Path) -> None:
    (root / "a.yaml").write_bytes(b"\xef\xbb\xbftask: t\r\nschedule: '@daily'\r\ndescription: |\r\n  x\r\n")
    assert by_name(SpecReader(root).read())["a"].schedule == ("@daily",)


def test_only_visible_yaml_files_are_read(root: Path) -> None:
    write(root, a="task: t", **{".hidden": "[", ".git__b": "["})
    for name in ("README.md", "b.yaml.bak", "c.json", "yaml", "~"):
        (root / name).write_text("[")
    (root / "d.yml").write_text("task: t")
    found = SpecReader(root).read()
    assert by_name(found).keys() == {"a", "d"}
    assert found.files == 2


def test_a_file_without_a_spec_is_a_warning(root: Path) -> None:
    write(root, a="", b="# later\n", c="---\n---\n")
    found = SpecReader(root).read()
    assert (found.specs, found.faults) == ((), ())
    assert [str(one).removeprefix(f"{root}/") for one in found.warnings] == [
        f"{name}.yaml:1:1: file: has no spec in it, only comments or nothing" for name in "abc"
    ]


FAULTS = [
    ("task: t\nshedule: '@daily'\n", "a.yaml:2:1: shedule: unknown key; did you mean 'schedule'?"),
    ("task: t\nschedule: 60 * * * *\n", "a.yaml:2:11: schedule: '60 * * * *' has minute 60; minutes run 0-59"),
    (
        "task: t\nschedule:\n  - '@daily'\n  - '60 * * * *'\n",
        "a.yaml:4:5: schedule[1]: '60 * * * *' has minute 60; minutes run 0-59",
    ),
    ("schedule: '@daily'\n", "a.yaml:1:1: task: is missing; name a registered task"),
    ("task: t\nretries:\n  attempts: 0\n", "a.yaml:3:13: retries.attempts: 0 is too small; the least is 1"),
    ("task: t\nretries: {atempts: 3}\n", "a.yaml:2:11: retries.atempts: unknown key; did you mean 'attempts'?"),
    ("task: t\nlabels: {Team: x}\n", "a.yaml:2:10: labels.Team: 'Team' is not a name: "),
    ("task: t\nskip_on: [2026-01-01, 2026-02-30]\n", "a.yaml:2:23: skip_on[1]: '2026-02-30' is not a day"),
    ("task: t\nsuspend: yes\n", "a.yaml:2:10: suspend: yes is a boolean to some and a word to others; write true,"),
    ("task: t\nsuspend: 'yes'\n", "a.yaml:2:10: suspend: 'yes' is not true or false"),
    ("task: t\nsuspend: True\n", "a.yaml:2:10: suspend: write true, or quote it if the text 'True' is meant"),
    ("task: t\nschedule:\n", "a.yaml:2:10: schedule: has no value; write one, write null for none, or leave the key"),
    ("- task: t\n", "a.yaml:1:1: file: a list is not a spec; a spec is a mapping with at least 'task'"),
    ("hello\n", "a.yaml:1:1: file: 'hello' is not a spec"),
    (
        "task:shell.run\n",
        "a.yaml:1:1: file: 'task:shell.run' is not a spec; a spec is a mapping with at least 'task'; a c",
    ),
    ("task: t\nschedule '@daily'\nqueue: q\n", "a.yaml:2:1: yaml: a colon has to follow this key; write it as key"),
    ("task: t\nparams:\n  a: b\n queue: q\n", "a.yaml:4:2: yaml: is no key of the mapping that begins on line 1; "),
    ("task: t\ndescription: Note: this\n", "a.yaml:2:18: yaml: a colon cannot stand here; quote what is text"),
    ("task: t\nqueue: 'q\n", "a.yaml:2:8: yaml: the quote that opens here is never closed; close it"),
    ("task: t\nparams: {a: 'it's'}\n", "a.yaml:2:17: yaml: the braces opened on line 2 need a comma or } here"),
    ("task: t\nparams: {a: {{ b }} }\n", "a.yaml:2:14: params.a: a key must be a plain word; quote a value that"),
    ("task: t\nskip_on: christmas\n", "a.yaml:2:10: skip_on: 'christmas' is not a list; write [christmas]"),
    ("task: t\nschedule: 5\n", "a.yaml:2:11: schedule: 5 is not a schedule; write '0 2 * * *', '@every 5m', or"),
    ("task: t\ntask: u\n", "a.yaml:2:1: task: is written twice; the first is on line 1, remove one of them"),
    ("task: t\nschedule: @hourly\n", "a.yaml:2:11: yaml: an unquoted word cannot begin with @; quote it"),
    ("task: t\nschedule: */5 * * * *\n", "a.yaml:2:11: yaml: an unquoted * begins an alias; quote the value"),
    ("task: t\n\tqueue: q\n", "a.yaml:2:1: yaml: a tab stands where spaces belong; indent with spaces"),
    ("task: t\n---\ntask: t\n", "a.yaml:3:1: name: is missing; only a file's first document takes the file's name"),
    ("task: t\nenvironments: {prod: {shedule: x}}\n", "a.yaml:2:23: environments.prod.shedule: unknown key; did"),
    ("task: t\nenvironments: {prod: {overlap: x}}\n", "a.yaml:2:32: environments.prod.overlap: 'x' is not one of"),
    ("task: t\nenvironments: {prod: {name: x}}\n", "a.yaml:2:23: environments.prod.name: cannot differ between"),
    ("task: t\nenvironments: {prod: 5}\n", "a.yaml:2:22: environments.prod: 5 is not a mapping of what differs"),
    ("task: t\nenvironments: [prod]\n", "a.yaml:2:15: environments: a list is not a mapping"),
    ("apiVersion: batch/v1\nkind: CronJob\nspec: {}\n", "a.yaml:1:1: file: this is a Kubernetes manifest (CronJob),"),
]


@pytest.mark.parametrize(("text", "line"), FAULTS)
def test_a_fault_is_one_line_with_its_place(root: Path, text: str, line: str) -> None:
    write(root, a=text, good="task: t")
    found = SpecReader(root).read()
    (told,) = lines(found, root)
    assert told.startswith(line)
    assert "good" in {one.spec.name for one in found.specs}


def test_every_fault_of_every_file_is_told_in_one_go(root: Path) -> None:
    write(
        root,
        a="task: t\noverlap: x\nqueue: Q\n---\nname: b\npriority: high\n",
        team__c="task: t\ntimeout: 5\nlabels: {a: 1}\n",
        d="task: t\n  x: [\n",
    )
    assert [line.split(" ")[0] + line.split(" ")[1] for line in lines(SpecReader(root).read(), root)] == [
        "a.yaml:2:10:overlap:",
        "a.yaml:3:8:queue:",
        "a.yaml:5:1:task:",
        "a.yaml:6:11:priority:",
        "d.yaml:2:4:yaml:",
        "team/c.yaml:2:10:timeout:",
        "team/c.yaml:3:13:labels.a:",
    ]


def test_every_fault_of_a_document_is_told_with_those_of_its_task_and_parameters(root: Path) -> None:
    write(
        root,
        a="task: reports.biuld\nschedule: '60 * * * *'\ncolour: red\ntimeout: 10\n"
        "---\nname: b\ntask: reports.build\nschedule: ['0 0 31 2 *', '5-1 * * * *']\ntimezone: Europe/Berln\n"
        "params: {regoin: eu, size: [1]}\n",
        c="task: reports.build\nparams: [a]\n",
    )
    assert [line.partition(": ")[0] + " " + line.split(": ")[1] for line in told_of_tasks(root)] == [
        "a.yaml:1:7 task",
        "a.yaml:2:11 schedule",
        "a.yaml:3:1 colour",
        "a.yaml:4:10 timeout",
        "a.yaml:8:12 schedule[0]",
        "a.yaml:8:26 schedule[1]",
        "a.yaml:9:11 timezone",
        "a.yaml:10:9 params.region",
        "a.yaml:10:10 params.regoin",
        "a.yaml:10:28 params.size",
        "c.yaml:2:9 params",
    ]


def test_what_is_wrong_in_one_environment_only_is_told_with_its_name(root: Path) -> None:
    write(
        root,
        a="task: reports.build\nparams: {region: eu}\nschedule: 60 * * * *\n"
        "environments: {prod: {params: {regoin: x}}, dev: {schedule: null, task: reports.biuld}}\n",
        b="task: reports.build\nparams: {region: eu}\nenvironments: {prod: {task: other, params: {region: null}}}\n",
    )
    assert [line.partition("; ")[0] for line in told_of_tasks(root)] == [
        "a.yaml:3:11: schedule: '60 * * * *' has minute 60",
        "a.yaml:4:32: environments.prod.params.regoin: reports.build has no such parameter",
        "a.yaml:4:73: environments.dev.task: no task named 'reports.biuld'",
        "b.yaml:3:29: environments.prod.task: no task named 'other'",
    ]


def test_a_spec_with_any_fault_is_not_among_the_specs(root: Path) -> None:
    write(
        root,
        parameter="task: reports.build\nparams: {region: 5}\n",
        twice="task: reports.build\nparams: {region: a}\nparams: {region: b}\n",
        elsewhere="task: reports.build\nparams: {region: a}\nenvironments: {prod: {queue: Q}}\n",
        pair="name: p\ntask: x\n---\nname: p\ntask: reports.build\nparams: {region: a}\n",
        good="task: reports.build\nparams: {region: a}\n---\nname: other\ntask: x\n",
    )
    found = SpecReader(root, check=check_against(TASKS)).read()
    assert [one.spec.name for one in found.specs] == ["good"]
    assert f"'p' is taken by {root}/pair.yaml:1; give one of them another name" in {one.what for one in found.faults}


def test_a_broken_document_does_not_hide_the_faults_before_it(root: Path) -> None:
    write(root, a="task: t\nqueue: Q\n---\nname: b\nx: [\n")
    assert [line.split(": ")[1] for line in lines(SpecReader(root).read(), root)] == ["queue", "yaml"]


def test_a_fault_is_shown_from_where_the_person_stands(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, team__a="task: 5")
    monkeypatch.chdir(root.parent)
    for given in (Path("specs"), root):
        (fault,) = SpecReader(given).read().faults
        assert str(fault) == "specs/team/a.yaml:1:7: task: 5 is not text; quote it: '5'"


def test_a_name_taken_twice_is_a_fault_that_names_both_places(root: Path) -> None:
    write(root, a="task: t\n---\ntask: t\nname: x\n", b="queue: q\nname: x\ntask: t\n", team__a="task: t")
    found = SpecReader(root).read()
    assert lines(found, root) == [
        f"b.yaml:2:7: name: 'x' is taken by {root}/a.yaml:3; give one of them another name",
        f"team/a.yaml:1:1: name: 'a' is taken by {root}/a.yaml:1; give one of them another name",
    ]


def test_a_file_name_that_cannot_be_a_name_has_to_be_replaced(root: Path) -> None:
    write(root, **{"My Report": "task: t\nqueue: Q\n"})
    assert [line.split(": ")[1] for line in lines(SpecReader(root).read(), root)] == ["name", "queue"]
    write(root, **{"My Report": "task: t\nname: report\n"})
    assert by_name(SpecReader(root).read()).keys() == {"report"}


# Words of YAML 1.1 that mean something else there.


def test_surprising_words_are_what_a_person_would_expect(root: Path) -> None:
    write(
        root,
        a="""
task: t
notify: {on: [failure], to: [ops]}
params:
  countries: [no, se, on, off, yes]
  at: 1:30
  day: 2026-01-01
  clock: 2026-01-01 02:00:00
  version: 1.2.3
  ratio: 0.5
  count: -3
  nothing: null
  tilde: ~
  flag: true
  equals: =
  y: y
  on: x
  1: one
""",
    )
    spec = by_name(SpecReader(root).read())["a"]
    assert spec.notify is not None
    assert spec.notify.on == ("failure",)
    assert spec.params == {
        "countries": ["no", "se", "on", "off", "yes"],
        "at": "1:30",
        "day": "2026-01-01",
        "clock": "2026-01-01 02:00:00",
        "version": "1.2.3",
        "ratio": 0.5,
        "count": -3,
        "nothing": None,
        "tilde": None,
        "flag": True,
        "equals": "=",
        "y": "y",
        "on": "x",
        "1": "one",
    }


@pytest.mark.parametrize(
    ("word", "instead"),
    [
        ("no", "write false, or quote it"),
        ("On", "write true, or quote it"),
        ("FALSE", "write false, or quote it"),
        ("Null", "write null, or quote it"),
        ("0x10", "write 16, or quote it"),
        ("0o17", "write 15, or quote it"),
        ("0b11", "write 3, or quote it"),
        ("012", "write 12 for the number, or quote it"),
        ("09", "write 9 for the number, or quote it"),
        ("1_000", "write 1000, or quote it"),
        ("1e3", "write 1000, or quote it"),
        ("+5", "write 5, or quote it"),
        ("+49301234", "write 49301234, or quote it"),
        (".inf", "quote it"),
        (".NaN", "quote it"),
        ("1e999", "quote it"),
        ("1.5e999", "quote it"),
        ("9" * 19, "more than 64 bits; quote it"),
        ("9" * 5000, "more than 64 bits; quote it"),
    ],
)
def test_a_doubtful_word_has_to_be_made_clear(root: Path, word: str, instead: str) -> None:
    write(root, a=f"task: t\nparams: {{x: {word}}}\n")
    (line,) = lines(SpecReader(root).read(), root)
    assert line.startswith("a.yaml:2:13: params.x: ")
    assert instead in line
    assert len(line) < 250
    write(root, a=f"task: t\nparams: {{x: '{word}'}}\n")
    assert by_name(SpecReader(root).read())["a"].params == {"x": word}


# Defaults and environments.


def test_defaults_hold_below_their_folder_and_inner_ones_win(root: Path) -> None:
    write(
        root,
        _defaults="queue: slow\nretries: {attempts: 3, backoff: 1s}\nparams: {region: eu, dsn: {from_env: A}}\n",
        team___defaults="queue: team\nretries: {attempts: 5}\nparams: {dsn: {from_file: /b}}\n",
        a="task: t\n",
        team__b="task: t\n",
        team__inner__c="task: t\nqueue: own\nparams: {region: null}\nretries: null\n",
        other__d="task: t\n",
    )
    specs = by_name(SpecReader(root).read())
    assert [specs[name].queue for name in "abcd"] == ["slow", "team", "own", "slow"]
    assert [specs[name].retries.attempts for name in "abcd"] == [3, 5, 1, 3]
    assert specs["b"].retries.backoff == specs["a"].retries.backoff
    assert specs["b"].params == {"region": "eu", "dsn": {"from_file": "/b"}}
    assert specs["c"].params["region"] is None


def test_a_fault_in_defaults_is_told_once_and_where_it_stands(root: Path) -> None:
    write(root, _defaults="queue: Q\nretries:\n  attempts: 0\n", a="task: t", b="task: t\nretries: {backoff: 1s}\n")
    assert [line.partition(" ")[0] for line in lines(SpecReader(root).read(), root)] == [
        "_defaults.yaml:1:8:",
        "_defaults.yaml:3:13:",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("shedule: x\n", "_defaults.yaml:1:1: shedule: unknown key; did you mean 'schedule'?"),
        ("name: x\n", "_defaults.yaml:1:1: name: cannot be a default: every spec has its own"),
        ("overlap: x\n", "_defaults.yaml:1:10: overlap: 'x' is not one of"),
        ("environments: {prod: {queue: Q}}\n", "_defaults.yaml:1:30: environments.prod.queue: 'Q' is not a name"),
        ("skip_on: [2026-02-30]\n", "_defaults.yaml:1:11: skip_on[0]: '2026-02-30' is not a day"),
        ("[]\n", "_defaults.yaml:1:1: file: a list is not a spec"),
        ("queue: a\n---\nqueue: b\n", "_defaults.yaml:3:1: file: has several documents; defaults are one mapping"),
    ],
)
def test_defaults_are_checked_where_no_spec_uses_them(root: Path, text: str, line: str) -> None:
    write(root, _defaults=text)
    (told,) = lines(SpecReader(root).read(), root)
    assert told.startswith(line)


def test_two_files_of_defaults_in_a_folder_are_a_fault(root: Path) -> None:
    write(root, _defaults="queue: a")
    (root / "_defaults.yml").write_text("queue: b")
    assert lines(SpecReader(root).read(), root) == [
        "_defaults.yml:1:1: file: stands beside _defaults.yaml; keep one of them"
    ]


def test_the_environment_picks_what_differs(root: Path) -> None:
    write(
        root,
        _defaults="environments: {staging: {suspend: true, retries: {attempts: 9}}}\n",
        a="task: t\nqueue: q\nretries: {attempts: 2, backoff: 1s}\nenvironments: {prod: {schedule: '@daily'}}\n",
        b="task: t\nenvironments: {staging: {suspend: false, queue: null}}\nqueue: q\n",
        c="task: t\nenvironments: {dev: null}\n",
    )

    def told(environment: str | None) -> list[tuple[object, ...]]:
        specs = by_name(SpecReader(root, environment=environment).read())
        return [(one.suspend, one.schedule, one.retries.attempts, one.queue) for one in specs.values()]

    assert told(None) == [(None, (), 2, "q"), (None, (), 1, "q"), (None, (), 1, "default")]
    assert told("prod") == [(None, ("@daily",), 2, "q"), (None, (), 1, "q"), (None, (), 1, "default")]
    assert told("staging") == [(True, (), 9, "q"), (False, (), 9, "default"), (True, (), 9, "default")]


def test_what_is_not_in_the_document_is_missing_there_and_not_in_an_environment(root: Path) -> None:
    write(root, a="queue: q\nenvironments:\n  prod: {queue: p}\n", b="task: t\nenvironments: {prod: {task: null}}\n")
    assert [line.partition(" is ")[0] for line in lines(SpecReader(root, environment="prod").read(), root)] == [
        "a.yaml:1:1: task:",
        "b.yaml:2:29: environments.prod.task:",
    ]


# Calendars.


def test_skip_on_takes_days_and_calendar_files(root: Path) -> None:
    (root / "holidays").mkdir()
    (root / "holidays" / "de.txt").write_text("\ufeff# Feiertage\n2026-12-25  # Weihnachten\r\n\n2026-01-01\n")
    (root / "holidays" / "us").write_text("2026-07-04")
    write(root, team__a="task: t\nskip_on: [holidays/de, holidays/us, 2026-05-01, '2026-05-02']\n")
    assert by_name(SpecReader(root).read())["a"].skip_on == (
        date(2026, 1, 1),
        date(2026, 5, 1),
        date(2026, 5, 2),
        date(2026, 7, 4),
        date(2026, 12, 25),
    )


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("holidays/fr", "no calendar 'holidays/fr'; a file of that name, or with .txt or .ics, below the specs'"),
        ("../outside", "calendar '../outside' is outside the specs' directory; put it inside"),
        ("/etc/passwd", "'/etc/passwd' is no calendar; name a file below the specs' directory"),
        ("link", "calendar 'link' is outside the specs' directory; put it inside"),
        ("bad", "calendar 'bad', line 2: '24.12.2026' is not a day; write it as '2026-12-24'"),
        ("bytes", "calendar 'bytes' is not UTF-8; save it as UTF-8"),
        ("pipe", "no calendar 'pipe'"),
        ("large", "calendar 'large' is "),
        ("5", "'5' is not a day; write it as '2026-12-24'"),
    ],
)
def test_a_calendar_that_cannot_be_used_is_one_line(root: Path, name: str, what: str) -> None:
    (root.parent / "outside.txt").write_text("2026-01-01")
    (root / "link.txt").symlink_to(root.parent / "outside.txt")
    (root / "bad").write_text("# days\n24.12.2026\n")
    (root / "bytes").write_bytes(b"\xff")
    with (root / "large").open("wb") as file:
        file.truncate(50 * 2**20)
    os.mkfifo(root / "pipe")
    write(root, a=f"task: t\nskip_on: [2026-01-01, '{name}']\n")
    (line,) = lines(SpecReader(root).read(), root)
    assert line.startswith(f"a.yaml:2:23: skip_on[1]: {what}")


# Tasks and parameters.


def test_tasks_and_parameters_are_checked_at_their_own_lines(root: Path) -> None:
    write(
        root,
        good="task: reports.build\nparams: {region: eu}\n",
        a="task: reports.biuld\n",
        b="task: reports.build\nparams:\n  region: eu\n  size: many\n",
        c="task: reports.build\nparams:\n  regoin: eu\n",
        d="task: reports.build\n",
        e="task: reports.build\nparams:\n  region:\n    - eu\n",
        f="task: reports.build\nparams: {region: eu}\nenvironments: {prod: {params: {size: many}}}\n",
    )
    found = SpecReader(root, check=check_against(TASKS)).read()
    told = lines(found, root)
    assert told[0] == "a.yaml:1:7: task: no task named 'reports.biuld'; did you mean 'reports.build'?"
    assert [line.rpartition(":")[0].split(": ")[:2] for line in (f"{one}:" for one in told[1:])] == [
        ["b.yaml:4:9", "params.size"],
        ["c.yaml:3:3", "params.region"],
        ["c.yaml:3:3", "params.regoin"],
        ["d.yaml:1:1", "params.region"],
        ["e.yaml:3:3", "params.region"],
        ["f.yaml:3:38", "environments.prod.params.size"],
    ]
    assert "good" in {one.spec.name for one in found.specs}


def test_a_check_that_fails_itself_is_one_line(root: Path) -> None:
    def check(task: str, params: Mapping[str, object]) -> list[ParamFault]:
        raise KeyError(task)

    write(root, a="task: t")
    assert lines(SpecReader(root, check=check).read(), root) == [
        "a.yaml:1:7: task: 't' cannot be checked: KeyError: \"'t'\""
    ]


def test_what_is_hardly_meant_so_is_a_warning(root: Path) -> None:
    write(
        root,
        a="task: t\nafter: [b]\npause_after_failures: 3\nmissed: skip\nmissed_limit: 5\nmissed_within: 3h\n",
        b="task: t\noverlap: allow\njitter: 5s\nschedule: 0 0 1 * 5\n",
    )
    found = SpecReader(root).read()
    assert found.faults == ()
    assert [str(one).removeprefix(f"{root}/").split(": ")[:2] for one in found.warnings] == [
        ["a.yaml:4:1", "missed"],
        ["a.yaml:5:15", "missed_limit"],
        ["a.yaml:6:16", "missed_within"],
        ["b.yaml:4:11", "schedule"],
    ]


def test_what_has_no_effect_is_a_warning_where_the_spec_itself_says_it(root: Path) -> None:
    write(
        root,
        _defaults="retries: {backoff: 5s}\njitter: 1m\nmissed_limit: 5\n",
        a="task: t\nretries: {retry_on: [OSError]}\n",
        b="task: t\nretries: {attempts: 1}\n",
        c="task: t\njitter: 5s\nskip_on: [2026-12-24]\nenvironments: {prod: {schedule: '@daily'}}\n",
        d="task: t\njitter: 5s\nskip_on: [2026-12-24]\n",
    )
    found = SpecReader(root).read()
    assert [str(one).removeprefix(f"{root}/") for one in found.warnings] == [
        "a.yaml:2:1: retries: says nothing without 'attempts', which is 1 by default: nothing is tried again",
        "d.yaml:2:1: jitter: says nothing without a 'schedule'",
        "d.yaml:3:1: skip_on: says nothing without a 'schedule'",
    ]


def test_defaults_need_not_say_whom_to_tell(root: Path) -> None:
    write(root, _defaults="notify: {on: [missed]}\n", a="task: t\nnotify: {to: [ops]}\n")
    assert SpecReader(root).read().faults == ()
    write(root, b="task: t\n")
    assert lines(SpecReader(root).read(), root) == ["_defaults.yaml:1:9: notify: names nobody; give to or ping"]


# One file, and the same files again.


def test_a_single_file_takes_the_defaults_and_calendars_of_its_directory(root: Path) -> None:
    write(root, _defaults="queue: q", team___defaults="priority: 5", team__a="task: t\nskip_on: [days]\n", b="[")
    (root / "days.txt").write_text("2026-01-01")
    (one,) = SpecReader(root / "team" / "a.yaml", within=root).read().specs
    assert (one.path, one.spec.queue, one.spec.priority, len(one.spec.skip_on)) == ("team/a.yaml", "q", 5, 1)
    alone = SpecReader(root / "team" / "a.yaml").read()
    assert [fault.field for fault in alone.faults] == ["skip_on[0]"]


def test_what_cannot_be_read_at_all_is_never_empty(root: Path) -> None:
    for missing in (root / "nowhere", root / "a.yaml"):
        with pytest.raises(ReconcilerError, match="cannot be read: no such file or directory"):
            SpecReader(missing).read()


def test_nothing_changed_is_the_same_answer_and_opens_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, _defaults="queue: q", a="task: t\nskip_on: [days]\n", b="task: 5\n")
    (root / "days").write_text("2026-01-01")
    for path in root.iterdir():
        os.utime(path, (1, 1))
    reader = SpecReader(root)
    first = reader.read()
    monkeypatch.setattr("reconciler.specfiles.onepass.is_settled", lambda stamp: True)
    reader.read()  # now nothing is too young to be trusted
    monkeypatch.setattr("reconciler.specfiles.onepass.content", lambda place, limit: pytest.fail(f"{place} was opened"))
    assert reader.read() is first


def test_the_same_content_written_again_is_the_same_answer(root: Path) -> None:
    write(root, a="task: t", b="task: 5")
    reader = SpecReader(root)
    first = reader.read()
    write(root, a="task: t", b="task: 5")
    assert reader.read() is first


CHANGES = [
    ("a file", {"a": "task: t\nqueue: other\n"}),
    ("the defaults", {"_defaults": "queue: other"}),
    ("a new file", {"c": "task: t\n"}),
    ("a new folder's defaults", {"team___defaults": "queue: other"}),
]


@pytest.mark.parametrize(("what", "files"), CHANGES)
def test_a_change_is_seen(root: Path, what: str, files: dict[str, str]) -> None:
    write(root, _defaults="priority: 1", a="task: t\n", team__b="task: t\n")
    reader = SpecReader(root)
    before = reader.read()
    write(root, **files)
    after = reader.read()
    assert {one.digest for one in after.specs} != {one.digest for one in before.specs}, what
    assert [(one.path, one.digest) for one in after.specs] == [
        (one.path, one.digest) for one in SpecReader(root).read().specs
    ]


def test_a_change_of_the_same_length_and_times_is_seen(root: Path) -> None:
    write(root, a="task: t\npriority: 1\n")
    about = (root / "a.yaml").stat()
    reader = SpecReader(root)
    reader.read()
    write(root, a="task: t\npriority: 2\n")
    os.utime(root / "a.yaml", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert [one.spec.priority for one in reader.read().specs] == [2]


def test_a_changed_calendar_changes_the_specs_that_name_it(root: Path) -> None:
    (root / "days").write_text("2026-01-01")
    write(root, a="task: t\nskip_on: [days]\n", b="task: t\n")
    reader = SpecReader(root)
    before = {one.spec.name: one.digest for one in reader.read().specs}
    (root / "days").write_text("2026-01-02")
    after = {one.spec.name: one.digest for one in reader.read().specs}
    assert before["a"] != after["a"]
    assert before["b"] == after["b"]
    (root / "days").unlink()
    assert [fault.field for fault in reader.read().faults] == ["skip_on[0]"]


@pytest.mark.parametrize("text", ["2026-01-02", None])
def test_a_calendar_is_looked_at_where_no_spec_has_changed(
    root: Path, text: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.specfiles.onepass.is_settled", lambda stamp: True)
    (root / "days").write_text("2026-01-01")
    write(root, a="task: t\nskip_on: [days]\n", b="task: t\n")
    reader = SpecReader(root)
    before = reader.read()
    assert reader.read() is before
    (root / "days").write_text(text) if text else (root / "days").unlink()
    assert reader.read() != before


def test_a_removed_file_and_a_mended_one_are_seen(root: Path) -> None:
    write(root, a="task: 5", b="task: t")
    reader = SpecReader(root)
    assert len(reader.read().faults) == 1
    write(root, a="task: t")
    (root / "b.yaml").unlink()
    assert by_name(reader.read()).keys() == {"a"}
