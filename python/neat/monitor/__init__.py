"""The monitor: a terminal program that reads run directories. It imports no torch and never touches a trainer."""
