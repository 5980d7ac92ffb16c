"""The numbered list of cases in Markdown, made from the cases themselves."""

from typing import Final

from broker_adapters.kit.catalog import cases

START: Final = "<!-- cases: python -m broker_adapters.kit -->"
END: Final = "<!-- end of cases -->"


def listing() -> str:
    """Return every case by area, with what it needs of the broker or of the bench."""
    lines, area = list[str](), ""
    for case in cases():
        if case.area != area:
            area = case.area
            lines += ["", f"### {area}", "", "| case | | needs |", "|---|---|---|"]
        needs = ", ".join(need.value.replace("_", " ") for need in case.needs)
        lines.append(f"| {case.id} | {case.sentence} | {needs} |")
    count = f"{len(cases())} cases, each counted once."
    return "\n".join([START, "", count, *lines, "", END, ""])
