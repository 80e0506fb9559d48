//! Reads one file through and says what is in it.
