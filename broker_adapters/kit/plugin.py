"""The pytest plugin: `--broker my.module:create`, and a summary that counts what was skipped.

pytest loads it by the entry point `robo_broker_kit`; nothing else of the kit is imported until a
case is asked for.
"""

import pkgutil

import pytest

import broker_adapters.kit

_NUMBER = "kit_case"
# What a case asserts is explained when it fails, as in any test.
pytest.register_assert_rewrite(
    *[
        f"{broker_adapters.kit.__name__}.{module.name}"
        for module in pkgutil.iter_modules(broker_adapters.kit.__path__)
        if module.name == "desk" or module.name.startswith("cases_")
    ]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--broker` and `--bench`."""
    group = parser.getgroup("broker kit")
    group.addoption(
        "--broker",
        default="",
        help="the adapter's factory: module:create, or a name of the entry points robo.brokers",
    )
    group.addoption(
        "--bench",
        default="",
        help="module:Class of its bench; default: KIT_BENCH of the factory's module",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases ran, and every one that did not with its reason."""
    ran, skipped = 0, list[tuple[str, str]]()
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            numbers = [v for k, v in getattr(report, "user_properties", ()) if k == _NUMBER]
            if not numbers or (outcome != "skipped" and report.when != "call"):
                continue
            if outcome == "skipped":
                reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
                skipped.append((str(numbers[0]), reason.removeprefix("Skipped: ")))
            else:
                ran += 1
    if not ran + len(skipped) or not terminalreporter.config.getoption("--broker"):
        return
    terminalreporter.section(f"broker kit: {ran} cases ran, {len(skipped)} could not")
    for case_id, reason in sorted(skipped):
        terminalreporter.write_line(f"{case_id}  {reason}")
