"""The parts of a report, one file each: functions from the records of one or several runs to blocks."""
