"""WHEN work runs: timetable, runner, daemon and time-lapse."""
